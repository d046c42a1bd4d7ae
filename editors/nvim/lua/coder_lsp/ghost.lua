--- Draws what is left of a suggestion, so that the screen looks as it will after accepting it. Knows no server.
---
--- Neovim 0.12 has a renderer of its own (vim.lsp.inline_completion), which is not used, on no version. Read in
--- 0.12.4: it asks a fixed 200 ms after the last key, on top of the server's own delay; until then it leaves on
--- screen what was suggested before, whether or not it agrees with what was typed, and accepting it then inserts it
--- where the cursor was; it cancels no request before insert mode ends; where a suggestion replaces text, it draws
--- over that text; it takes no words or lines; and nobody learns what was shown. Its highlight groups are used
--- where they exist, and it is kept from showing our client a second time (builtin.lua).
---
--- Three forms:
---   one line                      virtual text in the line; what it replaces stays where it is, between the pieces
---   several, nothing behind       the first line as virtual text, the others below
---   several, text behind          the first line laid over that text, which moves to the end of the last one

local suggestion = require("coder_lsp.suggestion")

local api = vim.api

local M = {}

M.namespace = api.nvim_create_namespace("coder_lsp.ghost")

local GHOST, MORE, REPLACED = "CoderLspGhost", "CoderLspGhostMore", "CoderLspReplaced"

---@type integer?
local drawn_in

--- Groups as the colour scheme has them; a user's own definition stays.
function M.define_highlights()
  local newer = vim.fn.hlexists("ComplHint") == 1
  api.nvim_set_hl(0, GHOST, { default = true, link = newer and "ComplHint" or "NonText" })
  api.nvim_set_hl(0, MORE, { default = true, link = newer and "ComplHintMore" or "MoreMsg" })
  api.nvim_set_hl(0, REPLACED, { default = true, strikethrough = true })
end

--- Text as it will look from the screen column on: tabs as wide as the buffer has them, control characters as Vim
--- writes them. Virtual text knows neither.
---@param text string
---@param column integer
---@return string shown, integer column behind it
function M.as_shown(text, column)
  if not text:find("%c") then
    return text, column + vim.fn.strdisplaywidth(text, column)
  end
  local parts = {}
  for piece, tab in text:gmatch("([^\t]*)(\t?)") do
    if piece ~= "" then
      local plain = vim.fn.strtrans(piece)
      parts[#parts + 1] = plain
      column = column + vim.fn.strdisplaywidth(plain, column)
    end
    if tab ~= "" then
      local width = vim.fn.strdisplaywidth("\t", column)
      parts[#parts + 1] = (" "):rep(width)
      column = column + width
    end
  end
  return table.concat(parts), column
end

---@param bufnr integer
---@param row integer
---@param col integer
---@param options table
local function mark(bufnr, row, col, options)
  options.hl_mode = "combine"
  options.undo_restore = false
  options.strict = false
  options.priority = 200
  api.nvim_buf_set_extmark(bufnr, M.namespace, row, col, options)
end

--- The text in the line, cut where characters stand that it replaces.
---@param bufnr integer
---@param rest coder_lsp.Rest
---@param note string?
local function draw_line(bufnr, rest, note)
  local column = vim.fn.strdisplaywidth(rest.head)
  local at = suggestion.aligned(rest.text, rest.behind)
  local function piece(col, text, last)
    local chunks = {}
    if text ~= "" then
      local shown
      shown, column = M.as_shown(text, column)
      chunks[1] = { shown, GHOST }
    end
    if last and note then
      chunks[#chunks + 1] = { note, MORE }
    end
    if #chunks > 0 then
      mark(bufnr, rest.row, col, { virt_text = chunks, virt_text_pos = "inline" })
    end
  end
  if not at then
    mark(bufnr, rest.row, rest.col, { end_col = rest.col + #rest.behind, hl_group = REPLACED })
    piece(rest.col, rest.text, true)
    return
  end
  local text_from, col = 1, rest.col
  local index = 0
  for character in rest.behind:gmatch("[%z\1-\127\194-\244][\128-\191]*") do
    index = index + 1
    piece(col, rest.text:sub(text_from, at[index]), false)
    column = column + vim.fn.strdisplaywidth(character, column)
    text_from, col = at[index] + #character + 1, col + #character
  end
  piece(col, rest.text:sub(text_from), true)
end

---@param bufnr integer
---@param rest coder_lsp.Rest
---@param note string?
---@param first_only boolean
local function draw_block(bufnr, rest, note, first_only)
  local lines = vim.split(rest.text, "\n", { plain = true })
  local column = vim.fn.strdisplaywidth(rest.head)
  local covered = rest.behind .. rest.tail
  local below = {}
  for index = 2, #lines do
    local shown, width = M.as_shown(lines[index], 0)
    local chunks = { { shown, GHOST } }
    if index == #lines then
      if rest.tail ~= "" then
        chunks[2] = { (M.as_shown(rest.tail, width)), "Normal" }
      end
      if note then
        chunks[#chunks + 1] = { note, MORE }
      end
    end
    below[#below + 1] = chunks
  end
  local shown, ends = M.as_shown(lines[1], column)
  local options = {}
  if covered == "" or first_only then
    if shown ~= "" then
      options.virt_text, options.virt_text_pos = { { shown, GHOST } }, "inline"
    end
  else
    local _, covered_to = M.as_shown(covered, column)
    local chunks = {}
    if shown ~= "" then
      chunks[1] = { shown, GHOST }
    end
    if covered_to > ends then
      chunks[#chunks + 1] = { (" "):rep(covered_to - ends), "Normal" }
    end
    options.virt_text, options.virt_text_pos = chunks, "overlay"
  end
  if not first_only then
    options.virt_lines = below
  end
  if options.virt_text or options.virt_lines then
    mark(bufnr, rest.row, rest.col, options)
  end
end

--- Where a suggestion rewrites what stands before the cursor, that is struck out and the new text stands behind it.
---@param bufnr integer
---@param rest coder_lsp.Rest
local function strike_before(bufnr, rest)
  if rest.item.rewrites and rest.item.start < rest.col then
    mark(bufnr, rest.row, rest.item.start, { end_col = rest.col, hl_group = REPLACED })
  end
end

--- Draw it in place of whatever is drawn.
---@param bufnr integer the current buffer
---@param rest coder_lsp.Rest
---@param options { note: string?, first_only: boolean? }
function M.show(bufnr, rest, options)
  M.clear()
  drawn_in = bufnr
  strike_before(bufnr, rest)
  if rest.text:find("\n", 1, true) then
    draw_block(bufnr, rest, options.note, options.first_only or false)
  else
    draw_line(bufnr, rest, options.note)
  end
end

function M.clear()
  if drawn_in then
    if api.nvim_buf_is_valid(drawn_in) then
      api.nvim_buf_clear_namespace(drawn_in, M.namespace, 0, -1)
    end
    drawn_in = nil
  end
end

---@return boolean
function M.visible()
  return drawn_in ~= nil
end

return M
