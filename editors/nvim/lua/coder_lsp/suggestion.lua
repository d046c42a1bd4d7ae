--- What the server answered, and what is left of it while the user types. Reads the buffer, changes nothing.
---
--- Columns are bytes, rows count from 0; the client's units (UTF-8, -16, -32) end in `M.answer`. Text has "\n" between
--- lines, whatever the file has. Nothing here costs more than the lines between the place of the question and the
--- cursor, so it may run at every key.

local api = vim.api

local M = {}

---@class coder_lsp.Place Where and about what a question was asked.
---@field bufnr integer
---@field row integer
---@field col integer
---@field line string the line at that time

---@class coder_lsp.Item
---@field id string? the server's name of it
---@field command table?
---@field raw string the text as it came
---@field start integer column where its range begins, at most the cursor's
---@field ahead string what it puts behind the cursor
---@field before string what it says of the text before the cursor; the same text, or it rewrites that
---@field rewrites boolean
---@field behind string text behind the cursor that it replaces
---@field units_before integer UTF-16 units of the item as the server knows it before `ahead` begins

---@class coder_lsp.Answer
---@field place coder_lsp.Place
---@field items coder_lsp.Item[]
---@field index integer the one that is shown
---@field complete boolean whether the server was asked for all it has
---@field encoding string

---@class coder_lsp.Rest What of an item is still to come.
---@field item coder_lsp.Item
---@field row integer
---@field col integer of the cursor
---@field typed string what of the item stands in the buffer already
---@field text string
---@field behind string what still stands behind the cursor and would be replaced
---@field head string the line before the cursor
---@field tail string the line behind all that

---@param text string
local function with_newlines(text)
  return text:find("\r", 1, true) and (text:gsub("\r\n?", "\n")) or text
end

--- Where `units` in the encoding are in a line, as bytes; a place inside a character counts as before it.
---@param line string
---@param encoding string
---@param units integer
---@return integer
local function byte_column(line, encoding, units)
  return vim.str_byteindex(line, encoding, units, false)
end

--- The protocol's position of a byte column.
---@param line string
---@param encoding string
---@param col integer
---@return integer
function M.units(line, encoding, col)
  return vim.str_utfindex(line, encoding, math.min(col, #line), false)
end

---@param raw table an InlineCompletionItem
---@param place coder_lsp.Place
---@param encoding string
---@return coder_lsp.Item?
local function item_of(raw, place, encoding)
  local given = type(raw.insertText) == "table" and raw.insertText.value or raw.insertText
  if type(given) ~= "string" then
    return nil
  end
  local first, last = place.col, place.col
  if raw.range then
    local from, to = raw.range.start, raw.range["end"]
    -- The protocol wants both on the cursor's line and around the cursor.
    if from.line ~= place.row or to.line ~= place.row then
      return nil
    end
    first = byte_column(place.line, encoding, from.character)
    last = byte_column(place.line, encoding, to.character)
    if first > place.col or last < place.col then
      return nil
    end
  end
  local text, before = with_newlines(given), place.line:sub(first + 1, place.col)
  local rewrites = text:sub(1, #before) ~= before
  local arguments = type(raw.command) == "table" and raw.command.arguments or nil
  local item = {
    id = arguments and type(arguments[1]) == "string" and arguments[1] or nil,
    command = raw.command,
    raw = given,
    start = first,
    before = rewrites and "" or before,
    ahead = rewrites and text or text:sub(#before + 1),
    rewrites = rewrites,
    behind = place.line:sub(place.col + 1, last),
    units_before = 0,
  }
  if item.ahead == item.behind and not rewrites then
    return nil
  end
  return item
end

---@param result table? an InlineCompletionList or a list of items
---@param place coder_lsp.Place
---@param encoding string
---@param complete boolean
---@return coder_lsp.Answer? nil without an item that can be shown
function M.answer(result, place, encoding, complete)
  local items, seen = {}, {}
  for _, raw in ipairs(type(result) == "table" and (result.items or result) or {}) do
    local item = item_of(raw, place, encoding)
    if item and not seen[item.ahead] then
      seen[item.ahead] = true
      items[#items + 1] = item
    end
  end
  if #items == 0 then
    return nil
  end
  return { place = place, items = items, index = 1, complete = complete, encoding = encoding }
end

--- What was written since the question, and what stands behind the cursor; nil if anything else changed.
---@param place coder_lsp.Place
---@param most integer lines that a suggestion has, at most
---@return string? typed, string? after, integer? row, integer? col
local function since(place, most)
  if api.nvim_get_current_buf() ~= place.bufnr then
    return nil
  end
  local cursor = api.nvim_win_get_cursor(0)
  local row, col = cursor[1] - 1, cursor[2]
  if row < place.row or row - place.row > most then
    return nil
  end
  local lines = api.nvim_buf_get_lines(place.bufnr, place.row, row + 1, false)
  if #lines ~= row - place.row + 1 or lines[1]:sub(1, place.col) ~= place.line:sub(1, place.col) then
    return nil
  end
  local after = lines[#lines]:sub(col + 1)
  if #lines == 1 then
    if col < place.col then
      return nil
    end
    return lines[1]:sub(place.col + 1, col), after, row, col
  end
  lines[#lines] = lines[#lines]:sub(1, col)
  lines[1] = lines[1]:sub(place.col + 1)
  return table.concat(lines, "\n"), after, row, col
end

---@param answer coder_lsp.Answer
---@param item coder_lsp.Item
---@return coder_lsp.Rest? nil when the buffer does not agree with the item any more, or has all of it
function M.rest(answer, item)
  local place = answer.place
  local _, newlines = item.ahead:gsub("\n", "")
  local typed, after, row, col = since(place, newlines)
  if not typed or not after or not row or not col then
    return nil
  end
  if item.rewrites and typed ~= "" then
    return nil
  end
  if item.ahead:sub(1, #typed) ~= typed then
    return nil
  end
  local tail = place.line:sub(place.col + #item.behind + 1)
  local standing = #after - #tail
  -- What is replaced may be gone already, from its beginning on: a closing bracket typed over, or a word accepted.
  if standing < 0 or standing > #item.behind or after:sub(standing + 1) ~= tail then
    return nil
  end
  local behind = after:sub(1, standing)
  if item.behind:sub(#item.behind - standing + 1) ~= behind then
    return nil
  end
  local text = item.ahead:sub(#typed + 1)
  -- Without text left there is nothing to show, even if something would still be removed.
  if text == "" or (text == behind and not item.rewrites) then
    return nil
  end
  local head = api.nvim_buf_get_lines(place.bufnr, row, row + 1, false)[1]:sub(1, col)
  return { item = item, row = row, col = col, typed = typed, text = text, behind = behind, head = head, tail = tail }
end

--- The rest of the item that is shown. If that one does not fit what was typed, but an alternative does, it is shown.
---@param answer coder_lsp.Answer
---@return coder_lsp.Rest?
function M.follow(answer)
  local rest = M.rest(answer, answer.items[answer.index])
  if rest then
    return rest
  end
  for index, item in ipairs(answer.items) do
    rest = M.rest(answer, item)
    if rest then
      answer.index = index
      return rest
    end
  end
  return nil
end

--- All that still fit, as (index, rest).
---@param answer coder_lsp.Answer
---@return { index: integer, rest: coder_lsp.Rest }[]
function M.fitting(answer)
  local found = {}
  for index, item in ipairs(answer.items) do
    local rest = M.rest(answer, item)
    if rest then
      found[#found + 1] = { index = index, rest = rest }
    end
  end
  return found
end

--- An item as if it had been answered at another place, to which the cursor has come since.
---@param rest coder_lsp.Rest
---@param place coder_lsp.Place
---@param typed string what was typed since that place
---@return coder_lsp.Item
local function moved(rest, place, typed)
  local item = rest.item
  return vim.tbl_extend("force", item, {
    ahead = typed .. rest.text,
    before = "",
    start = place.col,
    behind = place.line:sub(place.col + 1, #place.line - #rest.tail),
    units_before = M.utf16_length(item, #rest.typed) - vim.str_utfindex(typed, "utf-16", #typed, false),
  })
end

--- Take the items of an older answer into a newer one, as further alternatives.
---@param new coder_lsp.Answer
---@param old coder_lsp.Answer
---@param stay boolean whether what `old` shows comes first and is shown on
function M.merge(new, old, stay)
  local fits = M.fitting(new)
  if #fits == 0 then
    return
  end
  local typed, by_text, items = fits[1].rest.typed, {}, {}
  for _, fit in ipairs(fits) do
    by_text[fit.rest.text] = fit.rest.item
  end
  local shown = M.rest(old, old.items[old.index])
  if stay and shown then
    -- The newer one of two that say the same: the server knows it longer.
    items[1] = by_text[shown.text] or moved(shown, new.place, typed)
    by_text[shown.text] = items[1]
  end
  for _, item in ipairs(new.items) do
    if item ~= items[1] then
      items[#items + 1] = item
    end
  end
  for _, fit in ipairs(M.fitting(old)) do
    if not by_text[fit.rest.text] and not fit.rest.item.rewrites then
      by_text[fit.rest.text] = fit.rest.item
      items[#items + 1] = moved(fit.rest, new.place, typed)
    end
  end
  new.items, new.index, new.complete = items, 1, new.complete or old.complete
end

--- Where the characters of `behind` are found in `text`, in order, as byte offsets (0-based); nil if they are not all
--- there. "x, y):" over ")" gives { 4 }: shown as "x, y" before the bracket and ":" behind it.
---@param text string
---@param behind string
---@return integer[]?
function M.aligned(text, behind)
  local at, from = {}, 1
  for character in behind:gmatch("[%z\1-\127\194-\244][\128-\191]*") do
    local found = text:find(character, from, true)
    if not found then
      return nil
    end
    at[#at + 1] = found - 1
    from = found + #character
  end
  return at
end

--- How many bytes of `behind` are taken over by the first `length` bytes of `text`.
---@param rest coder_lsp.Rest
---@param length integer
---@return integer
function M.consumed(rest, length)
  local at = M.aligned(rest.text, rest.behind)
  if not at then
    return 0
  end
  local bytes, index = 0, 1
  for character in rest.behind:gmatch("[%z\1-\127\194-\244][\128-\191]*") do
    if at[index] + #character > length then
      break
    end
    bytes, index = bytes + #character, index + 1
  end
  return bytes
end

--- The first word of a text with the white space before it: letters as the buffer's 'iskeyword' has them, or a run of
--- signs.
---@param text string
---@return string
function M.first_word(text)
  local space = text:match("^%s*")
  -- Of one line: to Vim's patterns a line break in a string is a sign like others.
  local line = text:sub(#space + 1):match("^[^\n]*")
  local word = vim.fn.matchstr(line, [[\v^%(\k+|%(\k@!\S)+)]])
  return word == "" and text or space .. word
end

--- The first line, without its end; an empty first line brings the next one.
---@param text string
---@return string
function M.first_line(text)
  return (text:match("^\n*[^\n]*"))
end

--- UTF-16 units of the item up to `bytes` bytes of what it puts behind the cursor, counted as the server wrote it:
--- a "\r\n" that is one line break here is two units there.
---@param item coder_lsp.Item
---@param bytes integer
---@return integer
function M.utf16_length(item, bytes)
  local part = item.ahead:sub(1, bytes)
  local units = vim.str_utfindex(part, "utf-16", #part, false)
  if item.raw:find("\r\n", 1, true) then
    local _, breaks = part:gsub("\n", "")
    units = units + breaks
  end
  return item.units_before + units
end

return M
