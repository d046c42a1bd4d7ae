--- Completion menus of others: Neovim's own, nvim-cmp, blink.cmp. None of them is needed, none is loaded from here.

local M = {}

--- Whether `name` is loaded and its function `ask` says yes. A plugin that changed or fails counts as no menu.
---@param name string
---@param ask string
---@return boolean
local function says(name, ask)
  local plugin = package.loaded[name]
  local question = type(plugin) == "table" and rawget(plugin, ask)
  if type(question) ~= "function" then
    return false
  end
  local ok, answer = pcall(question)
  return ok and answer == true
end

---@return boolean
function M.visible()
  if vim.fn.pumvisible() == 1 then
    return true
  end
  local cmp = package.loaded["cmp"]
  if type(cmp) == "table" and type(cmp.visible) == "function" then
    local ok, visible = pcall(cmp.visible)
    if ok and visible then
      return true
    end
  end
  -- The names of several versions of blink.
  return says("blink.cmp", "is_menu_visible") or says("blink.cmp", "is_visible")
end

local watched_cmp = false

--- Call `changed` when a menu opens or closes. nvim-cmp is looked for each time until it is there.
---@param group integer
---@param changed fun()
function M.watch(group, changed)
  vim.api.nvim_create_autocmd("User", {
    group = group,
    pattern = { "BlinkCmpMenuOpen", "BlinkCmpMenuClose", "BlinkCmpShow", "BlinkCmpHide" },
    desc = "coder-lsp: blink.cmp's menu",
    callback = changed,
  })
  vim.api.nvim_create_autocmd({ "CompleteChanged", "CompleteDone" }, {
    group = group,
    desc = "coder-lsp: the completion menu",
    callback = changed,
  })
end

---@param changed fun()
function M.watch_cmp(changed)
  local cmp = package.loaded["cmp"]
  if watched_cmp or type(cmp) ~= "table" or type(cmp.event) ~= "table" or type(cmp.event.on) ~= "function" then
    return
  end
  watched_cmp = true
  pcall(cmp.event.on, cmp.event, "menu_opened", changed)
  pcall(cmp.event.on, cmp.event, "menu_closed", changed)
end

return M
