--- `:CoderLsp install`: the server in a virtual environment of its own, under Neovim's data folder. Asks first;
--- installs from the checkout this plugin lies in, else from the package index that pip is set up for.

local config = require("coder_lsp.config")
local server = require("coder_lsp.server")

local M = {}

local running = false

---@param message string
---@param level integer?
local function say(message, level)
  vim.notify(("coder-lsp: %s"):format(message), level or vim.log.levels.INFO)
end

---@param name string
local function last_line(name)
  local line = vim.trim(name):match("[^\n]*$") or ""
  return #line > 300 and line:sub(1, 300) .. "…" or line
end

--- Run the commands one after the other; `log` gets what they print.
---@param steps { what: string, command: string[] }[]
---@param log string[]
---@param done fun(failed: string?)
local function run(steps, log, done)
  local step = table.remove(steps, 1)
  if not step then
    done(nil)
    return
  end
  local began = vim.uv.now()
  local timer = assert(vim.uv.new_timer())
  local function show()
    local seconds = math.floor((vim.uv.now() - began) / 1000)
    vim.api.nvim_echo({ { ("coder-lsp: %s, %d s"):format(step.what, seconds) } }, false, {})
  end
  timer:start(0, 1000, vim.schedule_wrap(show))
  local function output(_, text)
    if text then
      log[#log + 1] = text
    end
  end
  local ok, fault = pcall(vim.system, step.command, { text = true, stdout = output, stderr = output }, function(result)
    timer:stop()
    timer:close()
    vim.schedule(function()
      if result.code == 0 then
        run(steps, log, done)
      else
        done(("%s failed (exit status %d): %s"):format(step.what, result.code, last_line(table.concat(log))))
      end
    end)
  end)
  if not ok then
    timer:stop()
    timer:close()
    done(("%s failed: %s"):format(step.what, fault))
  end
end

---@return string python, string source, string described
local function wanted()
  local options = config.current.install
  local checkout = server.checkout()
  local source = options.source or checkout or "coder-lsp"
  local described = (options.source and source)
    or (checkout and ("the checkout %s"):format(checkout))
    or "the package index"
  return options.python or "python3", source, described
end

---@param python string
---@param source string
local function begin(python, source)
  local venv = server.private_venv()
  local inner = vim.fs.joinpath(venv, vim.fn.has("win32") == 1 and "Scripts" or "bin", "python")
  local log = {}
  running = true
  vim.fn.mkdir(vim.fs.dirname(venv), "p", "0700")
  run(
    {
      { what = "making a virtual environment", command = { python, "-I", "-m", "venv", "--clear", venv } },
      {
        what = "installing (compiling llama.cpp may take some minutes)",
        command = { inner, "-I", "-m", "pip", "install", "--disable-pip-version-check", source },
      },
    },
    log,
    function(failed)
      running = false
      vim.fn.writefile(vim.split(table.concat(log), "\n"), M.log_file())
      if failed then
        say(("%s\nThe whole output is in %s"):format(failed, M.log_file()), vim.log.levels.ERROR)
        return
      end
      say(("installed in %s"):format(venv))
      require("coder_lsp.client").start()
    end
  )
end

---@return string
function M.log_file()
  return vim.fs.joinpath(vim.fn.stdpath("log"), "coder-lsp-install.log")
end

function M.install()
  if running then
    say("an installation is running already", vim.log.levels.WARN)
    return
  end
  local python, source, described = wanted()
  if vim.fn.executable(python) == 0 then
    say(("%s is no program; set install.python to a Python 3.10 or newer"):format(python), vim.log.levels.ERROR)
    return
  end
  local question = ("Install coder-lsp from %s into %s?"):format(described, server.private_venv())
  vim.ui.select({ "Yes", "No" }, { prompt = question }, function(answer)
    if answer == "Yes" then
      begin(python, source)
    end
  end)
end

return M
