--- Where the server's program is: what the user named, what is on the PATH, the checkout this plugin lies in, or the
--- private environment that `:CoderLsp install` made.

local M = {}

local uv = vim.uv

---@return string
function M.private_venv()
  return vim.fs.joinpath(vim.fn.stdpath("data"), "coder-lsp", "venv")
end

--- The checkout that this file lies in; nil if the plugin came alone.
---@return string?
function M.checkout()
  local here = debug.getinfo(1, "S").source:sub(2)
  local root = vim.fs.normalize(vim.fn.fnamemodify(here, ":p:h:h:h:h:h"))
  local project = vim.fs.joinpath(root, "pyproject.toml")
  if not uv.fs_stat(project) or not uv.fs_stat(vim.fs.joinpath(root, "coder_lsp", "__init__.py")) then
    return nil
  end
  return root
end

---@param venv string
---@return string?
local function program_in(venv)
  local path = vim.fn.has("win32") == 1 and vim.fs.joinpath(venv, "Scripts", "coder-lsp.exe")
    or vim.fs.joinpath(venv, "bin", "coder-lsp")
  return vim.fn.executable(path) == 1 and path or nil
end

--- The program with its leading arguments, and where it was found; nil and what was looked at.
---@return string[]? command
---@return string how
function M.find()
  local given = require("coder_lsp.config").current.cmd
  if given then
    if vim.fn.executable(given[1]) == 1 then
      return given, "option cmd"
    end
    return nil, ("option cmd names %s, which is no program"):format(given[1])
  end
  local on_path = vim.fn.exepath("coder-lsp")
  if on_path ~= "" then
    return { on_path }, "PATH"
  end
  local root = M.checkout()
  local program = root and program_in(vim.fs.joinpath(root, ".venv"))
  if program then
    return { program }, "the checkout this plugin lies in"
  end
  program = program_in(M.private_venv())
  if program then
    return { program }, ":CoderLsp install"
  end
  return nil, "coder-lsp is not on the PATH and no environment of it was found"
end

--- The command of another part of coder-lsp ("doctor"), with the same program. What stands behind "serve" in the
--- user's own command belongs to that.
---@param ... string
---@return string[]? command
---@return string how
function M.command(...)
  local found, how = M.find()
  if not found then
    return nil, how
  end
  local command = {}
  for _, part in ipairs(found) do
    if part == "serve" then
      break
    end
    command[#command + 1] = part
  end
  return vim.list_extend(command, { ... }), how
end

---@return string
function M.log_file()
  return vim.fs.joinpath(vim.fn.stdpath("log"), "coder-lsp.log")
end

--- How the language server is started; nil if it is not there.
---@return string[]? command
---@return string how
function M.serve()
  local found, how = M.find()
  if not found then
    return nil, how
  end
  if vim.list_contains(found, "serve") or #found > 1 then
    return found, how
  end
  local options = require("coder_lsp.config").current
  return vim.list_extend({ found[1], "serve" }, { "--log-file", M.log_file(), "--log-level", options.log_level }), how
end

local LOG_BYTES = 5 * 1024 * 1024

--- Keep the log small: one old file beside the one that is written.
function M.rotate_log()
  local path = M.log_file()
  local stat = uv.fs_stat(path)
  if stat and stat.size > LOG_BYTES then
    uv.fs_rename(path, path .. ".old")
  end
end

return M
