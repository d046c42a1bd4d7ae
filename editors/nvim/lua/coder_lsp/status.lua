--- What the server says of itself, for status lines and messages. Changes fire `User CoderLspStatus`.

local M = {}

local ICONS = {
  stopped = "○",
  starting = "◌",
  loading = "◌",
  ready = "●",
  generating = "◍",
  paused = "‖",
  offline = "○",
  error = "✗",
}

---@type table<integer, table> by client
local known = {}
---@type string?
local failure
---@type { name: string, percent: integer? }?
local pulling
local pending = false

local function announce()
  if pending then
    return
  end
  pending = true
  -- Many statuses come at once while something is generated; one redraw is enough for them.
  vim.schedule(function()
    pending = false
    vim.api.nvim_exec_autocmds("User", { pattern = "CoderLspStatus", modeline = false })
    vim.cmd.redrawstatus({ bang = true })
  end)
end

---@param client_id integer
---@param params table the notification's parameters
function M.update(client_id, params)
  if type(params) ~= "table" then
    return
  end
  failure = nil
  known[client_id] = params
  announce()
end

---@param client_id integer
function M.gone(client_id)
  known[client_id] = nil
  announce()
end

--- The server is not there and does not come back by itself.
---@param message string
function M.failed(message)
  failure = message
  announce()
end

---@param name string?
---@param percent integer?
function M.pulling(name, percent)
  pulling = name and { name = name, percent = percent } or nil
  announce()
end

function M.refresh()
  announce()
end

---@class coder_lsp.StatusInfo
---@field state "off"|"stopped"|"starting"|"loading"|"ready"|"generating"|"paused"|"pulling"|"error"
---@field model string
---@field engine string
---@field message string
---@field percent integer? while a model is loaded or pulled
---@field offline boolean
---@field paused "all"|"buffer"|"filetype"|nil
---@field index table?
---@field attached boolean whether this buffer is served

--- All there is to know of the current buffer's server (or of any, where it has none).
---@return coder_lsp.StatusInfo
function M.info()
  local client = require("coder_lsp.client")
  local bufnr = vim.api.nvim_get_current_buf()
  local own = client.of_buffer(bufnr)
  local lsp_client = own or vim.lsp.get_clients({ name = client.name })[1]
  local said = lsp_client and known[lsp_client.id] or {}
  local info = {
    state = said.state or (lsp_client and "starting" or "off"),
    model = said.model or "",
    engine = said.engine or "",
    message = said.message or "",
    percent = type(said.progress) == "number" and math.floor(100 * said.progress) or nil,
    offline = said.offline == true,
    paused = require("coder_lsp.pause").reason(bufnr),
    index = said.index,
    attached = own ~= nil,
  }
  if failure and not lsp_client then
    info.state, info.message = "error", failure
  elseif info.paused and info.state ~= "error" then
    info.state = "paused"
  elseif pulling then
    info.state, info.model, info.percent = "pulling", pulling.name, pulling.percent
  end
  return info
end

--- A few words for a status line; empty where coder-lsp has nothing to do with the buffer.
---@return string
function M.text()
  local info = M.info()
  if info.state == "off" then
    return ""
  end
  local words = info.state
  if info.percent and (info.state == "loading" or info.state == "pulling") then
    words = ("%s %d%%"):format(words, info.percent)
  end
  if info.offline and info.state ~= "error" then
    words = words .. ", offline"
  end
  if require("coder_lsp.config").current.icons then
    return ("%s %s"):format(ICONS[info.state] or "◌", words)
  end
  return ("coder-lsp: %s"):format(words)
end

return M
