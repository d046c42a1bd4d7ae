--- Tells the server what is on screen, what became of it and where the user is. Notifications only, no answers.

local suggestion = require("coder_lsp.suggestion")

local M = {}

---@type string?
local last_shown
---@type table<integer, integer> the row last told, by buffer
local told_row = {}
---@type uv.uv_timer_t?
local timer

--- How long a jump has to last before it is told: `j` held down passes many lines.
local SETTLED_MS = 120

---@param lsp_client vim.lsp.Client
---@param item coder_lsp.Item
function M.shown(lsp_client, item)
  if item.id and item.id ~= last_shown then
    last_shown = item.id
    lsp_client:notify("coder-lsp/didShow", { id = item.id })
  end
end

---@param lsp_client vim.lsp.Client
---@param item coder_lsp.Item
function M.rejected(lsp_client, item)
  if item.id then
    lsp_client:notify("coder-lsp/didReject", { id = item.id })
  end
end

--- All of an item was taken: the command it came with.
---@param lsp_client vim.lsp.Client
---@param item coder_lsp.Item
---@param bufnr integer
function M.accepted(lsp_client, item, bufnr)
  if item.command then
    local params = { command = item.command.command, arguments = item.command.arguments }
    lsp_client:request("workspace/executeCommand", params, function() end, bufnr)
  end
end

--- A part of it was taken.
---@param lsp_client vim.lsp.Client
---@param item coder_lsp.Item
---@param bytes integer of `item.ahead`, from its beginning
---@param bufnr integer
function M.accepted_part(lsp_client, item, bytes, bufnr)
  if item.id then
    local arguments = { item.id, suggestion.utf16_length(item, bytes) }
    local params = { command = "coder-lsp.accepted", arguments = arguments }
    lsp_client:request("workspace/executeCommand", params, function() end, bufnr)
  end
end

---@param lsp_client vim.lsp.Client
---@param bufnr integer the current buffer
function M.focus(lsp_client, bufnr)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row = cursor[1] - 1
  local line = vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ""
  told_row[bufnr] = row
  lsp_client:notify("coder-lsp/didFocus", {
    textDocument = { uri = vim.uri_from_bufnr(bufnr) },
    position = { line = row, character = suggestion.units(line, lsp_client.offset_encoding, cursor[2]) },
  })
end

--- The cursor moved: told once it stays, and only if it went far.
---@param bufnr integer the current buffer
---@param far integer lines
function M.moved(bufnr, far)
  local row = vim.api.nvim_win_get_cursor(0)[1] - 1
  local told = told_row[bufnr]
  if told and math.abs(row - told) < far then
    return
  end
  timer = timer or vim.uv.new_timer()
  if not timer then
    return
  end
  timer:start(
    SETTLED_MS,
    0,
    vim.schedule_wrap(function()
      local lsp_client = require("coder_lsp.client").of_buffer(bufnr)
      if lsp_client and vim.api.nvim_get_current_buf() == bufnr then
        M.focus(lsp_client, bufnr)
      end
    end)
  )
end

---@param bufnr integer
function M.forget(bufnr)
  told_row[bufnr] = nil
end

return M
