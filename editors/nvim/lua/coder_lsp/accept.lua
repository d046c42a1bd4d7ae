--- Puts a suggestion, or its next word or line, into the buffer, as one step of undo.
---
--- The text goes in by a key sequence: <C-g>u on both sides is what makes it a step of its own, and keys work from any
--- mapping, an `expr` one included, where text must not be changed, and keep their place before what is typed next.

local client = require("coder_lsp.client")
local feedback = require("coder_lsp.feedback")
local session = require("coder_lsp.session")
local suggestion = require("coder_lsp.suggestion")

local api = vim.api

local M = {}

---@alias coder_lsp.Part "all"|"word"|"line"

local PARTS = {
  all = function(text)
    return text
  end,
  word = suggestion.first_word,
  line = suggestion.first_line,
}

--- Accept this much of what is on screen.
---@param part coder_lsp.Part
---@return boolean whether there was something to accept
function M.accept(part)
  local _, rest = session.shown()
  if not rest then
    return false
  end
  local keys = ("<C-g>u<Cmd>lua require('coder_lsp.accept').apply(%q)<CR><C-g>u"):format(part)
  api.nvim_feedkeys(vim.keycode(keys), "ni", false)
  return true
end

---@param bufnr integer
---@param row integer
---@param from integer
---@param to integer
---@param text string
local function insert(bufnr, row, from, to, text)
  local lines = vim.split(text, "\n", { plain = true })
  api.nvim_buf_set_text(bufnr, row, from, row, to, lines)
  local last = row + #lines - 1
  api.nvim_win_set_cursor(0, { last + 1, #lines[#lines] + (#lines == 1 and from or 0) })
end

--- What the keys of `accept` run.
---@param part coder_lsp.Part
function M.apply(part)
  local answer, rest = session.shown()
  if not answer or not rest then
    return
  end
  local bufnr, item = answer.place.bufnr, rest.item
  local lsp_client = client.of_buffer(bufnr)
  local piece = item.rewrites and rest.text or PARTS[part](rest.text)
  local whole = piece == rest.text
  if item.rewrites then
    insert(bufnr, rest.row, item.start, rest.col + #rest.behind, rest.text)
  else
    -- Of what stands behind the cursor goes what the piece brings itself; with all of the text, all of it.
    local replaced = whole and #rest.behind or suggestion.consumed(rest, #piece)
    insert(bufnr, rest.row, rest.col, rest.col + replaced, piece)
  end
  if lsp_client then
    if whole then
      feedback.accepted(lsp_client, item, bufnr)
    else
      feedback.accepted_part(lsp_client, item, #rest.typed + #piece, bufnr)
    end
  end
  session.update()
end

return M
