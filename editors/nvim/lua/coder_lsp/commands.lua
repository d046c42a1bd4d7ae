--- `:CoderLsp`: its sub-commands and their completion.

local api = vim.api

local M = {}

local KINDS = { "buffer", "filetype", "all" }

---@class coder_lsp.SubCommand
---@field run fun(arguments: string[], command: table)
---@field values (fun(): string[])?
---@field described string

---@param which string
---@param act fun()
local function said(which, act)
  if not act() then
    api.nvim_echo({ { ("coder-lsp: nothing to %s; this is for insert mode"):format(which) } }, false, {})
  end
end

---@param on boolean
local function pausing(on)
  return function(arguments)
    local kind = arguments[1] or "all"
    if not vim.list_contains(KINDS, kind) then
      local message = ("coder-lsp: what to pause is buffer, filetype or all, not %s"):format(kind)
      vim.notify(message, vim.log.levels.ERROR)
      return
    end
    require("coder_lsp.pause").set(kind, api.nvim_get_current_buf(), on)
    vim.notify(("coder-lsp: %s (%s)"):format(on and "paused" or "resumed", kind), vim.log.levels.INFO)
  end
end

local function kinds()
  return KINDS
end

local function status()
  local views, client = require("coder_lsp.views"), require("coder_lsp.client")
  local info = require("coder_lsp.status").info()
  local lsp_client = client.any()
  if not lsp_client then
    views.scratch("status", views.status_lines(nil, info), "text")
    return
  end
  client.execute(lsp_client, "coder-lsp.status", {}, function(result)
    views.scratch("status", views.status_lines(result, info), "text")
  end)
end

local function context()
  local client, views = require("coder_lsp.client"), require("coder_lsp.views")
  local bufnr = api.nvim_get_current_buf()
  local lsp_client = client.of_buffer(bufnr)
  if not lsp_client then
    vim.notify("coder-lsp: this buffer is not served; `:checkhealth coder_lsp` says why", vim.log.levels.WARN)
    return
  end
  local position = vim.lsp.util.make_position_params(0, lsp_client.offset_encoding).position
  local arguments = { { uri = vim.uri_from_bufnr(bufnr), position = position } }
  local filetype = vim.bo[bufnr].filetype
  client.ask("coder-lsp.context", arguments, function(result)
    views.scratch("context", views.context_lines(result), filetype)
  end)
end

local function log()
  local client, server, views = require("coder_lsp.client"), require("coder_lsp.server"), require("coder_lsp.views")
  local lsp_client = client.any()
  local function instead()
    local own = server.log_file()
    -- A server with a command line of the user's own logs where Neovim keeps what servers say.
    local path = vim.uv.fs_stat(own) and own
      or (vim.lsp.log and vim.lsp.log.get_filename and vim.lsp.log.get_filename() or vim.lsp.get_log_path())
    views.log(path)
  end
  if not lsp_client then
    instead()
    return
  end
  client.execute(lsp_client, "coder-lsp.showLog", {}, function(result)
    if type(result) == "table" and type(result.path) == "string" then
      views.log(result.path)
    else
      instead()
    end
  end)
end

local function stats(arguments)
  local days = tonumber(arguments[1])
  if arguments[1] and not days then
    vim.notify("coder-lsp: stats takes a number of days", vim.log.levels.ERROR)
    return
  end
  local views = require("coder_lsp.views")
  require("coder_lsp.client").ask("coder-lsp.stats", days and { { days = days } } or {}, function(result)
    views.scratch("stats", views.stats_lines(result), "text")
  end)
end

local function doctor(arguments)
  local command, how = require("coder_lsp.server").command("doctor", unpack(arguments))
  if not command then
    vim.notify(("coder-lsp: %s; `:CoderLsp install` sets it up"):format(how), vim.log.levels.ERROR)
    return
  end
  require("coder_lsp.views").terminal(command)
end

---@param name string
---@param word string
---@param described string
---@return coder_lsp.SubCommand
local function on_suggestion(name, word, described)
  return {
    run = function()
      said(word, require("coder_lsp")[name])
    end,
    described = described,
  }
end

---@param task coder_lsp.Task
---@param described string
---@return coder_lsp.SubCommand
local function instructing(task, described)
  return {
    run = function(arguments, command)
      require("coder_lsp.instruct").command(task, table.concat(arguments, " "), command)
    end,
    described = described,
  }
end

---@param act fun(): boolean
---@param described string
---@param nothing string
---@return coder_lsp.SubCommand
local function on_edit(act, described, nothing)
  return {
    run = function()
      if not act() then
        api.nvim_echo({ { ("coder-lsp: %s"):format(nothing) } }, false, {})
      end
    end,
    described = described,
  }
end

---@type table<string, coder_lsp.SubCommand>
M.all = {
  status = { run = status, described = "what the server is doing" },
  pause = { run = pausing(true), values = kinds, described = "no suggestions: buffer, filetype or all" },
  resume = { run = pausing(false), values = kinds, described = "undo the same pause; all ends every pause" },
  model = {
    run = function(arguments)
      local models = require("coder_lsp.models")
      if arguments[1] == "cancel" then
        models.cancel()
      else
        models.model(arguments[1])
      end
    end,
    values = function()
      local models = require("coder_lsp.models")
      models.refresh_names()
      return vim.list_extend(vim.list_slice(models.names), { "cancel" })
    end,
    described = "choose a model; pulls it after asking",
  },
  context = { run = context, described = "what the model sees of other files here" },
  log = { run = log, described = "the server's log" },
  restart = {
    run = function()
      require("coder_lsp.client").restart()
    end,
    described = "a new model process, or a new server if none runs",
  },
  doctor = {
    run = doctor,
    values = function()
      return { "--no-completion", "--full", "--tune", "--json" }
    end,
    described = "check the installation",
  },
  stats = { run = stats, described = "what became of the suggestions; takes a number of days" },
  install = {
    run = function()
      require("coder_lsp.install").install()
    end,
    described = "install the server into an environment of its own",
  },
  trigger = on_suggestion("trigger", "ask for", "ask for suggestions here"),
  accept = on_suggestion("accept", "accept", "accept the suggestion"),
  ["accept-word"] = on_suggestion("accept_word", "accept", "accept its next word"),
  ["accept-line"] = on_suggestion("accept_line", "accept", "accept its next line"),
  next = on_suggestion("next", "change", "next alternative"),
  previous = on_suggestion("previous", "change", "previous alternative"),
  dismiss = on_suggestion("dismiss", "dismiss", "dismiss the suggestion"),
  generate = instructing("generate", "write code at the cursor or in place of the range"),
  rewrite = instructing("rewrite", "rewrite the range"),
  explain = instructing("explain", "explain the range in a window"),
  tests = instructing("tests", "write tests of the range, or of the file, into a new file"),
  ["accept-edit"] = on_edit(function()
    return require("coder_lsp").accept_edit()
  end, "put in what the model wrote", "no change is shown"),
  ["dismiss-edit"] = on_edit(function()
    return require("coder_lsp").dismiss_edit()
  end, "drop what the model wrote", "no change is shown"),
  stop = on_edit(function()
    return require("coder_lsp").stop()
  end, "stop the model, which follows an instruction", "the model follows no instruction"),
}

---@param command { fargs: string[], range: integer, line1: integer, line2: integer, bang: boolean }
function M.run(command)
  local arguments = vim.list_slice(command.fargs)
  local name = table.remove(arguments, 1) or "status"
  local sub = M.all[name]
  if not sub then
    local names = vim.tbl_keys(M.all)
    table.sort(names)
    local message = "coder-lsp: no sub-command %s; there are %s"
    vim.notify(message:format(name, table.concat(names, ", ")), vim.log.levels.ERROR)
    return
  end
  sub.run(arguments, command)
end

---@param lead string
---@param line string
---@param position integer
---@return string[]
function M.complete(lead, line, position)
  local words = vim.split(line:sub(1, position), "%s+", { trimempty = true })
  local number = #words - (lead == "" and 0 or 1)
  local values
  if number <= 1 then
    values = vim.tbl_keys(M.all)
    table.sort(values)
  elseif number == 2 then
    local sub = M.all[words[2]]
    values = sub and sub.values and sub.values() or {}
  else
    values = {}
  end
  return vim.tbl_filter(function(value)
    return value:sub(1, #lead) == lead
  end, values)
end

return M
