--- Neovim's own inline completion (0.12): kept from serving our client too, or every suggestion would be asked for and
--- shown twice. Other clients' inline completion is not touched.

local M = {}

---@return table? the module; nil before 0.12
local function inline_completion()
  if vim.fn.has("nvim-0.12") == 0 then
    return nil
  end
  local ok, module = pcall(function()
    return vim.lsp.inline_completion
  end)
  return ok and type(module) == "table" and module.enable and module or nil
end

---@param lsp_client vim.lsp.Client
---@param bufnr integer?
---@return boolean
function M.shows(lsp_client, bufnr)
  local module = inline_completion()
  if not module then
    return false
  end
  local ok, enabled = pcall(module.is_enabled, { client_id = lsp_client.id, bufnr = bufnr })
  return ok and enabled == true
end

--- Called when a client attaches and each time insert mode begins, as it can be switched on at any time.
---@param lsp_client vim.lsp.Client
---@param bufnr integer
function M.keep_off(lsp_client, bufnr)
  if M.shows(lsp_client, bufnr) then
    local module = inline_completion()
    pcall(assert(module).enable, false, { client_id = lsp_client.id })
  end
end

--- Whether the user has it switched on for everything, which other servers' suggestions may need.
---@return boolean
function M.enabled_for_all()
  local module = inline_completion()
  local ok, enabled = pcall(function()
    return module and module.is_enabled()
  end)
  return ok and enabled == true
end

return M
