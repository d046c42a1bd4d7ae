--- `:checkhealth coder_lsp`: each finding with its fix.

local M = {}

local health = vim.health

local PLUG = "<Plug>(coder-lsp-accept)"
local WAIT_MS = 3000

local function neovim()
  health.start("Neovim")
  local version = vim.version()
  if vim.fn.has("nvim-0.11") == 0 then
    health.error(("Neovim %s is too old"):format(version), "Install Neovim 0.11 or newer.")
    return
  end
  health.ok(("Neovim %s"):format(version))
end

local function options()
  local faults = require("coder_lsp.config").faults
  if #faults == 0 then
    health.ok("options can all be used")
  end
  for _, fault in ipairs(faults) do
    health.warn(fault, "Mend it in the call of require('coder_lsp').setup; `:help coder-lsp-options` has them all.")
  end
end

--- Run a command of the server's and wait for its answer, as a health report has to.
---@param lsp_client vim.lsp.Client
---@param command string
---@return any
local function asked(lsp_client, command)
  local answer, done
  require("coder_lsp.client").execute(lsp_client, command, {}, function(result)
    answer, done = result, true
  end)
  vim.wait(WAIT_MS, function()
    return done
  end, 20)
  return answer
end

local function server()
  health.start("Server")
  local find = require("coder_lsp.server")
  local command, how = find.command("version")
  if not command then
    health.error(how, {
      "`:CoderLsp install` installs it into an environment of its own.",
      'Or put coder-lsp on the PATH, or name it: setup({ cmd = { "/path/to/coder-lsp", "serve" } })',
    })
    return false
  end
  health.ok(("found by %s: %s"):format(how, command[1]))
  local ok, result = pcall(function()
    return vim.system(command, { text = true, timeout = 10000 }):wait()
  end)
  if ok and result.code == 0 then
    health.ok(vim.trim(result.stdout):match("[^\n]*"))
  else
    local said = ok and vim.trim(result.stderr or ""):match("[^\n]*$") or tostring(result)
    health.error(("it does not run: %s"):format(said), "`:CoderLsp doctor` tells more; `:CoderLsp install` renews it.")
    return false
  end
  return true
end

---@param lsp_client vim.lsp.Client
local function host(lsp_client)
  local status = asked(lsp_client, "coder-lsp.status")
  if type(status) ~= "table" then
    health.warn(
      ("the server does not answer within %d s"):format(WAIT_MS / 1000),
      "`:CoderLsp log` says what it does; `:CoderLsp restart` starts it anew."
    )
    return
  end
  if status.state == "error" then
    health.error(status.message or "the model host failed", "`:CoderLsp doctor` finds out why.")
  else
    health.ok(("model host: %s%s"):format(status.state, status.model ~= "" and ", " .. status.model or ""))
  end
  if status.paused or require("coder_lsp.pause").reason(vim.api.nvim_get_current_buf()) then
    health.warn("suggestions are paused", "`:CoderLsp resume` ends that.")
  end
  if status.offline then
    health.info("offline: no model can be pulled; the setting is `offline` (or CODER_LSP_OFFLINE)")
  end
  local chosen = asked(lsp_client, "coder-lsp.chooseModel")
  if type(chosen) == "table" then
    local current, installed = chosen.current or "", chosen.models or {}
    if vim.list_contains(installed, current) or vim.uv.fs_stat(current) then
      health.ok(("model installed: %s"):format(current))
    else
      health.error(
        ("model not installed: %s"):format(current),
        ("`:CoderLsp model %s` pulls it after asking."):format(current)
      )
    end
  end
end

local function session()
  health.start("Session")
  local client = require("coder_lsp.client")
  local lsp_client = client.any()
  if not lsp_client then
    health.warn("no server runs in this Neovim", {
      "Call require('coder_lsp').setup(), or vim.lsp.enable('coder_lsp'), and open a file that has a name.",
      "`:CoderLsp restart` starts it now.",
    })
    return
  end
  health.ok(("running, positions in %s"):format(lsp_client.offset_encoding))
  host(lsp_client)
end

--- Other plugins that draw ghost text, by the module that is loaded when they run.
local GHOST_PLUGINS = {
  ["copilot.suggestion"] = "copilot.lua",
  ["supermaven-nvim"] = "supermaven-nvim",
  ["codeium"] = "codeium.nvim",
  ["neocodeium"] = "neocodeium",
  ["minuet.virtualtext"] = "minuet-ai.nvim",
  ["llm.completion"] = "llm.nvim",
  ["tabnine"] = "tabnine-nvim",
}

local function ghosts()
  local found = {}
  for module, name in pairs(GHOST_PLUGINS) do
    if package.loaded[module] then
      found[#found + 1] = name
    end
  end
  if vim.g.loaded_copilot == 1 or vim.fn.exists("*copilot#Enabled") == 1 then
    found[#found + 1] = "copilot.vim"
  end
  if vim.fn.exists("*llama#init") == 1 or vim.g.loaded_llama then
    found[#found + 1] = "llama.vim"
  end
  local blink = package.loaded["blink.cmp.config"]
  local ok, draws = pcall(function()
    return blink.completion.ghost_text.enabled
  end)
  if ok and draws == true then
    found[#found + 1] = "blink.cmp (completion.ghost_text)"
  end
  table.sort(found)
  if #found == 0 then
    health.ok("no other plugin draws ghost text")
  else
    health.warn(
      ("also draws ghost text: %s"):format(table.concat(found, ", ")),
      "Two suggestions in one place cover each other: switch one of them off, or `:CoderLsp pause` here."
    )
  end
end

local function builtin()
  local own = require("coder_lsp.builtin")
  if vim.fn.has("nvim-0.12") == 0 then
    return
  end
  local twice = false
  for _, lsp_client in ipairs(vim.lsp.get_clients({ name = "coder_lsp" })) do
    twice = twice or own.shows(lsp_client)
  end
  if twice then
    health.warn(
      "Neovim's own inline completion shows coder-lsp's suggestions too",
      "It is kept off when insert mode begins. Enable it for the clients that need it only: "
        .. "vim.lsp.inline_completion.enable(true, { client_id = … })"
    )
  elseif own.enabled_for_all() then
    health.ok("Neovim's own inline completion is enabled, and kept off for coder-lsp")
  else
    health.ok("Neovim's own inline completion is not enabled")
  end
end

local function mappings()
  local tab = vim.fn.maparg("<Tab>", "i", false, true)
  if vim.tbl_isempty(tab) then
    health.info("<Tab> is not mapped in insert mode; coder-lsp maps no key by itself, see `:help coder-lsp-mappings`")
  else
    local what = tab.desc or tab.rhs or "a Lua function"
    local source = tab.callback and debug.getinfo(tab.callback, "S").source:gsub("^@", "") or ""
    health.info(("<Tab> in insert mode: %s %s"):format(what, source ~= "" and ("(" .. source .. ")") or ""))
  end
  local mapped = vim.fn.hasmapto(PLUG, "i") == 1
  for _, keymap in ipairs(vim.api.nvim_get_keymap("i")) do
    local described = (keymap.desc or ""):lower()
    if keymap.lhs:sub(1, 6) ~= "<Plug>" and (described:find("coder%-lsp") or described:find("suggestion")) then
      mapped = true
      health.ok(("%s: %s"):format(keymap.lhs, keymap.desc))
    end
  end
  if not mapped then
    health.warn(
      "no mapping that accepts a suggestion was found",
      "Map a key to require('coder_lsp').accept; `:help coder-lsp-mappings` has one that shares <Tab>. "
        .. 'If you have one, give it a desc with the word "suggestion" and it will be found here.'
    )
  end
end

--- What takes the model's changes: keys while one is shown, keys of the user's, else the commands.
local function edit_keys()
  local keys = require("coder_lsp.config").current.edit_keys
  for name, plug in pairs({ accept = "<Plug>(coder-lsp-accept-edit)", dismiss = "<Plug>(coder-lsp-dismiss-edit)" }) do
    if keys[name] then
      health.ok(("%s a change of the model's: %s, while one is shown"):format(name, keys[name]))
    elseif vim.fn.hasmapto(plug, "n") == 1 then
      health.ok(("%s a change of the model's: mapped"):format(name))
    else
      health.info(
        ("%s a change of the model's: `:CoderLsp %s-edit`; the option `edit_keys` takes a key"):format(name, name)
      )
    end
  end
end

function M.check()
  neovim()
  options()
  if server() then
    session()
  end
  health.start("Beside other plugins")
  builtin()
  ghosts()
  mappings()
  edit_keys()
end

return M
