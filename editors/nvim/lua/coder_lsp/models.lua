--- `:CoderLsp model`: which models there are, choose one, pull it if it is not here. Nothing is pulled unasked.

local client = require("coder_lsp.client")

local M = {}

---@class coder_lsp.Model as coder-lsp.models tells it
---@field name string
---@field parameters string?
---@field bytes integer?
---@field licence string?
---@field installed boolean
---@field verified boolean?
---@field current boolean?
---@field note string?
---@field fault string?
---@field decodeTokensPerSecond number?
---@field speedBy string?

---@param bytes integer?
---@return string
local function size(bytes)
  if type(bytes) ~= "number" then
    return "size unknown"
  end
  if bytes >= 1e9 then
    return ("%.1f GB"):format(bytes / 1e9)
  end
  return bytes >= 1e6 and ("%.0f MB"):format(bytes / 1e6) or ("%.0f kB"):format(bytes / 1e3)
end

---@param model coder_lsp.Model
---@return boolean
local function faulty(model)
  return model.fault ~= nil and model.fault ~= ""
end

--- One line for a list.
---@param model coder_lsp.Model
---@return string
function M.described(model)
  local speed = model.decodeTokensPerSecond
  local parts = {
    model.current and "*" or " ",
    ("%-30s"):format(model.name),
    ("%6s"):format(model.parameters or ""),
    ("%12s"):format(size(model.bytes)),
    ("%-24s"):format(type(speed) == "number" and ("%4.0f tokens/s %s"):format(speed, model.speedBy or "") or ""),
    faulty(model) and ("fault: " .. model.fault) or (model.installed and "installed" or "not installed"),
    model.installed and "" or (model.verified and "" or "unverified"),
  }
  return (table.concat(parts, "  "):gsub("%s+$", ""))
end

---@param callback fun(models: coder_lsp.Model[])
local function list(callback)
  client.ask("coder-lsp.models", {}, function(result)
    callback(type(result) == "table" and result.models or {})
  end)
end

--- Names for the command line, as of the last list; asking there would have to wait.
---@type string[]
M.names = {}

function M.refresh_names()
  local lsp_client = client.any()
  if lsp_client then
    client.execute(lsp_client, "coder-lsp.models", {}, function(result)
      M.names = vim.tbl_map(function(model)
        return model.name
      end, type(result) == "table" and result.models or {})
    end)
  end
end

---@param name string
local function use(name)
  client.ask("coder-lsp.chooseModel", { name }, function()
    vim.notify(("coder-lsp: %s is used from now on, in this session"):format(name), vim.log.levels.INFO)
    -- What is shown was written by the other model.
    require("coder_lsp.session").clear()
  end)
end

---@type { lsp_client: vim.lsp.Client, request: integer, name: string }?
local pulling
local pulls = 0

--- Progress comes as LspProgress, which any progress display shows too; here it feeds the status and the message line.
---@param client_id integer
---@param token string
---@param name string
---@return integer autocmd
local function follow(client_id, token, name)
  local title = ("Pulling %s"):format(name)
  return vim.api.nvim_create_autocmd("LspProgress", {
    desc = "coder-lsp: a model is pulled",
    callback = function(event)
      local params = event.data and event.data.params
      local value = params and params.value
      if type(value) ~= "table" then
        return
      end
      -- The server may report on our token or on one of its own, whose title says what it is about.
      if params.token ~= token and not (event.data.client_id == client_id and value.title == title) then
        return
      end
      require("coder_lsp.status").pulling(name, value.percentage)
      if value.kind ~= "end" then
        local words = ("coder-lsp: pulling %s %s %s"):format(
          name,
          value.percentage and ("%d %%"):format(value.percentage) or "",
          value.message or ""
        )
        vim.api.nvim_echo({ { words } }, false, {})
      end
    end,
  })
end

---@param model coder_lsp.Model
---@param allow_unverified boolean
local function pull(model, allow_unverified)
  local lsp_client = client.any()
  if not lsp_client then
    vim.notify("coder-lsp: the server is not running; `:CoderLsp restart` starts it", vim.log.levels.WARN)
    return
  end
  if pulling then
    vim.notify(("coder-lsp: %s is being pulled; `:CoderLsp model cancel` stops that"):format(pulling.name))
    return
  end
  pulls = pulls + 1
  local token = ("coder-lsp-nvim-pull-%d"):format(pulls)
  local autocmd = follow(lsp_client.id, token, model.name)
  local status = require("coder_lsp.status")
  status.pulling(model.name, 0)
  local function over()
    pulling = nil
    pcall(vim.api.nvim_del_autocmd, autocmd)
    status.pulling(nil)
  end
  M.over = over
  local arguments = { model.name, { allowUnverified = allow_unverified } }
  local request = client.execute(lsp_client, "coder-lsp.pullModel", arguments, function(result, message)
    over()
    if message then
      vim.notify(("coder-lsp: %s"):format(message), vim.log.levels.ERROR)
      return
    end
    local bytes = type(result) == "table" and result.bytes or model.bytes
    vim.notify(("coder-lsp: %s is here (%s)"):format(model.name, size(bytes)), vim.log.levels.INFO)
    use(model.name)
  end, { workDoneToken = token })
  if request then
    pulling = { lsp_client = lsp_client, request = request, name = model.name }
  end
end

--- Stop the pull that runs; what has come is kept for the next one.
function M.cancel()
  if not pulling then
    vim.notify("coder-lsp: no model is being pulled", vim.log.levels.INFO)
    return
  end
  local name = pulling.name
  pulling.lsp_client:cancel_request(pulling.request)
  -- Neovim does not tell about an answer to a cancelled request.
  M.over()
  vim.notify(("coder-lsp: pulling %s was stopped; it goes on where it is when pulled again"):format(name))
end

---@param model coder_lsp.Model
local function choose(model)
  if faulty(model) then
    vim.notify(("coder-lsp: %s cannot be used: %s"):format(model.name, model.fault), vim.log.levels.ERROR)
    return
  end
  if model.installed then
    use(model.name)
    return
  end
  local unverified = not model.verified
  local question = ("Pull %s (%s, licence %s)%s from the network?"):format(
    model.name,
    size(model.bytes),
    model.licence or "unknown",
    unverified and ", whose digest nobody vouches for," or ""
  )
  vim.ui.select({ "Yes", "No" }, { prompt = question }, function(answer)
    if answer == "Yes" then
      pull(model, unverified)
    end
  end)
end

--- With a name: that one; else a list to choose from.
---@param name string?
function M.model(name)
  list(function(models)
    M.names = vim.tbl_map(function(model)
      return model.name
    end, models)
    if name then
      for _, model in ipairs(models) do
        if model.name == name then
          choose(model)
          return
        end
      end
      -- An alias, or a file: the server knows more names than it lists.
      use(name)
      return
    end
    if #models == 0 then
      vim.notify("coder-lsp: no model is known", vim.log.levels.WARN)
      return
    end
    vim.ui.select(models, { prompt = "Model", format_item = M.described }, function(model)
      if model then
        choose(model)
      end
    end)
  end)
end

return M
