--- The language client: its configuration for vim.lsp, commands of the server, and coming back after a crash.

local config = require("coder_lsp.config")
local server = require("coder_lsp.server")

local M = {}

M.name = "coder_lsp"

local RESTART_MS = { 500, 2000, 5000, 15000 }
--- Crashes further apart than this are not counted together.
local FORGIVEN_MS = 300000

---@type table<string, { count: integer, at: integer }> by root
local crashes = {}
local said_missing = false
---@type fun()[] callbacks for when a client of ours is gone
local on_gone = {}

---@param bufnr integer
---@return vim.lsp.Client?
function M.of_buffer(bufnr)
  return vim.lsp.get_clients({ name = M.name, bufnr = bufnr })[1]
end

--- The buffer's client, or any: what a command of the user's is sent to.
---@return vim.lsp.Client?
function M.any()
  return M.of_buffer(vim.api.nvim_get_current_buf()) or vim.lsp.get_clients({ name = M.name })[1]
end

---@param callback fun()
function M.when_gone(callback)
  on_gone[#on_gone + 1] = callback
end

local function say_missing(how)
  if not said_missing then
    said_missing = true
    local message = "coder-lsp: %s. `:CoderLsp install` sets it up; `:checkhealth coder_lsp` tells more"
    vim.notify(message:format(how), vim.log.levels.WARN)
  end
end

---@param bufnr integer
---@return boolean
local function wanted(bufnr)
  local options, filetype = config.current, vim.bo[bufnr].filetype
  if vim.bo[bufnr].buftype ~= "" or vim.api.nvim_buf_get_name(bufnr) == "" then
    return false
  end
  if vim.list_contains(options.disabled_filetypes, filetype) then
    return false
  end
  if options.filetypes and not vim.list_contains(options.filetypes, filetype) then
    return false
  end
  -- The text goes to the server whole, once; it suggests nothing in such files anyway.
  local bytes = vim.api.nvim_buf_get_offset(bufnr, vim.api.nvim_buf_line_count(bufnr))
  return bytes <= options.max_file_kb * 1024
end

---@param client_config table
local function begin_again(client_config, bufnrs)
  for _, bufnr in ipairs(bufnrs) do
    if vim.api.nvim_buf_is_loaded(bufnr) then
      vim.lsp.start(client_config, { bufnr = bufnr, silent = true })
    end
  end
end

--- By Neovim, which the client knows then, or by somebody's SIGINT or SIGTERM: of both the server dies in good order,
--- with 128 and the signal's number.
---@param code integer
---@param signal integer
---@param lsp_client vim.lsp.Client
---@return boolean
local function told_to_end(code, signal, lsp_client)
  return lsp_client._is_stopping == true or code == 130 or code == 143 or signal == 2 or signal == 15
end

---@param code integer
---@param signal integer
---@param lsp_client vim.lsp.Client
---@param bufnrs integer[]
local function after_exit(code, signal, lsp_client, bufnrs)
  for _, callback in ipairs(on_gone) do
    callback()
  end
  require("coder_lsp.status").gone(lsp_client.id)
  if vim.v.exiting ~= vim.NIL or (code == 0 and signal == 0) or told_to_end(code, signal, lsp_client) then
    return
  end
  local key, now = lsp_client.config.root_dir or "", vim.uv.now()
  local known = crashes[key]
  if not known or now - known.at > FORGIVEN_MS then
    known = { count = 0, at = now }
    crashes[key] = known
  end
  known.count, known.at = known.count + 1, now
  local how = signal ~= 0 and ("signal %d"):format(signal) or ("exit status %d"):format(code)
  if known.count > config.current.max_restarts then
    local message = "coder-lsp: the server ended %d times (%s). `:CoderLsp restart` starts it again, "
      .. "`:CoderLsp log` and `:CoderLsp doctor` say why"
    require("coder_lsp.status").failed(("the server ended (%s)"):format(how))
    vim.notify(message:format(known.count, how), vim.log.levels.ERROR)
    return
  end
  local delay = RESTART_MS[math.min(known.count, #RESTART_MS)]
  vim.defer_fn(function()
    begin_again(lsp_client.config, bufnrs)
  end, delay)
end

---@type table<integer, { client: vim.lsp.Client, bufnrs: integer[] }>
local clients = {}

--- Remember what a client serves: when it is gone, Neovim does not say any more.
---@param lsp_client vim.lsp.Client
---@param bufnr integer
function M.attached(lsp_client, bufnr)
  local known = clients[lsp_client.id]
  if not known then
    known = { client = lsp_client, bufnrs = {} }
    clients[lsp_client.id] = known
    require("coder_lsp.pause").tell(lsp_client)
  end
  if not vim.list_contains(known.bufnrs, bufnr) then
    table.insert(known.bufnrs, bufnr)
  end
end

---@param client_id integer
---@param bufnr integer
function M.detached(client_id, bufnr)
  local known = clients[client_id]
  -- A client that ends detaches from all; that must not make it forget whom it served.
  if known and not known.client:is_stopped() then
    known.bufnrs = vim.tbl_filter(function(each)
      return each ~= bufnr
    end, known.bufnrs)
  end
end

local function on_exit(code, signal, client_id)
  vim.schedule(function()
    local known = clients[client_id]
    clients[client_id] = nil
    if known then
      after_exit(code, signal, known.client, known.bufnrs)
    elseif code ~= 0 and vim.v.exiting == vim.NIL then
      -- It never came so far as to serve a buffer.
      local message = "coder-lsp: the server ended at once (exit status %d). `:CoderLsp doctor` says why"
      vim.notify(message:format(code), vim.log.levels.ERROR)
      require("coder_lsp.status").failed("the server ended at once")
    end
  end)
end

--- What `lsp/coder_lsp.lua` gives to vim.lsp. Everything that depends on options is looked up when it is needed, so
--- that `setup` may come before or after `vim.lsp.enable`.
---@return vim.lsp.Config
function M.lsp_config()
  -- 0.11 does not know the method, so nobody there says that it is understood. Not dynamic: it serves from the start.
  local capabilities = { textDocument = { inlineCompletion = { dynamicRegistration = false } } }
  return {
    cmd = function(dispatchers, client_config)
      local command, how = server.serve()
      if not command then
        error(("coder-lsp: %s"):format(how), 0)
      end
      server.rotate_log()
      local spawn = { cwd = client_config and client_config.root_dir, env = client_config and client_config.cmd_env }
      return vim.lsp.rpc.start(command, dispatchers, spawn)
    end,
    capabilities = capabilities,
    root_dir = function(bufnr, on_dir)
      if not wanted(bufnr) then
        return
      end
      local command, how = server.serve()
      if not command then
        say_missing(how)
        return
      end
      on_dir(vim.fs.root(bufnr, config.current.root_markers))
    end,
    handlers = {
      ["coder-lsp/status"] = function(_, params, context)
        require("coder_lsp.status").update(context.client_id, params)
      end,
      ["coder-lsp/preview"] = function(_, params)
        require("coder_lsp.instruct").preview(params)
      end,
    },
    on_exit = on_exit,
  }
end

---@alias coder_lsp.Reply fun(result: any, message: string?)

--- Run one of the server's commands. `reply` gets the result, or nil and the fault in one line.
---@param lsp_client vim.lsp.Client
---@param command string
---@param arguments any[]
---@param reply coder_lsp.Reply?
---@param extra table? further parameters of the request
---@return integer? request
function M.execute(lsp_client, command, arguments, reply, extra)
  local params = vim.tbl_extend("force", { command = command, arguments = arguments }, extra or {})
  local handler = function(fault, result)
    if reply then
      reply(result, fault and (fault.message or "the server refused it") or nil)
    end
  end
  local sent, request = lsp_client:request("workspace/executeCommand", params, handler)
  if not sent and reply then
    reply(nil, "the server is not running; `:CoderLsp restart` starts it")
  end
  return sent and request or nil
end

---@param command string
---@param arguments any[]
function M.execute_all(command, arguments)
  for _, lsp_client in ipairs(vim.lsp.get_clients({ name = M.name })) do
    M.execute(lsp_client, command, arguments)
  end
end

--- Run a command for the user: without a server, or when it refuses, that is said.
---@param command string
---@param arguments any[]
---@param reply fun(result: any)?
---@param extra table?
---@return vim.lsp.Client? client, integer? request
function M.ask(command, arguments, reply, extra)
  local lsp_client = M.any()
  if not lsp_client then
    vim.notify("coder-lsp: the server is not running; `:CoderLsp restart` starts it", vim.log.levels.WARN)
    return nil
  end
  local request = M.execute(lsp_client, command, arguments, function(result, message)
    if message then
      vim.notify(("coder-lsp: %s"):format(message), vim.log.levels.ERROR)
    elseif reply then
      reply(result)
    end
  end, extra)
  return lsp_client, request
end

--- Start where nothing runs: for every buffer that is wanted. Forgets earlier crashes.
function M.start()
  crashes, said_missing = {}, false
  local command, how = server.serve()
  if not command then
    say_missing(how)
    return
  end
  vim.lsp.enable(M.name)
  -- Enabling again starts nothing for buffers that are open; their file types do.
  for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(bufnr) and not M.of_buffer(bufnr) and wanted(bufnr) then
      local client_config = vim.tbl_extend("force", vim.lsp.config[M.name], {
        root_dir = vim.fs.root(bufnr, config.current.root_markers),
      })
      vim.lsp.start(client_config, { bufnr = bufnr })
    end
  end
end

--- A new model host where a server runs, else a new server.
function M.restart()
  if not M.any() then
    M.start()
    return
  end
  M.ask("coder-lsp.restart", {}, function(status)
    vim.notify(("coder-lsp: restarted, %s"):format(status and status.state or "ready"), vim.log.levels.INFO)
  end)
end

return M
