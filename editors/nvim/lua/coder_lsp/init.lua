--- coder-lsp: code completion that runs on this machine, as ghost text. The functions a user's configuration calls.
---
--- Whatever takes, changes or removes a suggestion returns whether there was one, so that a mapping can let its key
--- through: see |coder-lsp-mappings|.

local M = {}

--- Take options over and, unless `auto_start` is false, start the server for the files that are opened.
---@param options table?
function M.setup(options)
  local config = require("coder_lsp.config")
  config.apply(options)
  if next(config.current.settings) then
    -- Only what the user has set: what an editor gives wins over the user's config.toml.
    vim.lsp.config("coder_lsp", { settings = { ["coder-lsp"] = config.current.settings } })
  end
  if config.current.auto_start then
    vim.lsp.enable("coder_lsp")
  end
end

---@return boolean accepted
function M.accept()
  return require("coder_lsp.accept").accept("all")
end

---@return boolean accepted
function M.accept_word()
  return require("coder_lsp.accept").accept("word")
end

---@return boolean accepted
function M.accept_line()
  return require("coder_lsp.accept").accept("line")
end

---@return boolean shown whether there was a suggestion to change
function M.next()
  return require("coder_lsp.session").step(1)
end

---@return boolean shown
function M.previous()
  return require("coder_lsp.session").step(-1)
end

---@return boolean dismissed
function M.dismiss()
  return require("coder_lsp.session").dismiss()
end

--- Ask here, for all alternatives.
---@return boolean asked
function M.trigger()
  return require("coder_lsp.session").trigger()
end

--- Put in the change that the model wrote.
---@return boolean shown whether there was one
function M.accept_edit()
  return require("coder_lsp.edit").accept()
end

--- Drop it, and stop the model if it is still writing.
---@return boolean shown
function M.dismiss_edit()
  return require("coder_lsp.edit").dismiss()
end

--- Stop the model, which follows an instruction.
---@return boolean stopped
function M.stop()
  return require("coder_lsp.instruct").stop()
end

--- Whether a suggestion is on screen.
---@return boolean
function M.visible()
  return require("coder_lsp.session").shown() ~= nil
end

---@param kind "all"|"buffer"|"filetype"|nil
function M.pause(kind)
  require("coder_lsp.pause").set(kind or "all", vim.api.nvim_get_current_buf(), true)
end

---@param kind "all"|"buffer"|"filetype"|nil
function M.resume(kind)
  require("coder_lsp.pause").set(kind or "all", vim.api.nvim_get_current_buf(), false)
end

--- For a status line: "coder-lsp: ready"; empty where no server runs.
---@return string
function M.status()
  return require("coder_lsp.status").text()
end

---@return coder_lsp.StatusInfo
function M.status_info()
  return require("coder_lsp.status").info()
end

return M
