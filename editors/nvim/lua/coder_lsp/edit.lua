--- A change that the model wrote for a place in the text: shown there, and put in or dropped as the user says.
---
--- One at a time, as there is one user. Until it is accepted the buffer is as it was: what would go is highlighted,
--- what would come stands below it as virtual lines. The user may write on elsewhere meanwhile; a mark keeps the place,
--- and the lines that the change is for are compared with those that the model saw before anything is replaced.

local config = require("coder_lsp.config")
local ghost = require("coder_lsp.ghost")

local api = vim.api

local M = {}

M.namespace = api.nvim_create_namespace("coder_lsp.edit")

local anchors = api.nvim_create_namespace("coder_lsp.edit.anchor")
local ADDED, REMOVED, NOTE = "CoderLspAdded", "CoderLspRemoved", "CoderLspGhostMore"

---@class coder_lsp.Edit
---@field bufnr integer
---@field encoding string
---@field seen string[] the buffer's lines as the model sees them
---@field anchor integer a mark around the rows that were asked about
---@field first integer these rows, as they were
---@field last integer
---@field range { first: integer, col: integer, last: integer, last_col: integer }? in `seen`, columns in bytes
---@field text string
---@field done boolean
---@field stop fun() ends the writing
---@field keys { lhs: string, before: table? }[]

---@type coder_lsp.Edit?
local current

local function drop_keys(edit)
  for _, key in ipairs(edit.keys) do
    pcall(vim.keymap.del, "n", key.lhs, { buffer = edit.bufnr })
    if key.before then
      api.nvim_buf_call(edit.bufnr, function()
        vim.fn.mapset("n", false, key.before)
      end)
    end
  end
  edit.keys = {}
end

--- The user's keys, for as long as there is something that they act on; what they were mapped to comes back.
---@param edit coder_lsp.Edit
local function take_keys(edit)
  local wanted = config.current.edit_keys
  for name, act in pairs({ accept = M.accept, dismiss = M.dismiss }) do
    local lhs = wanted[name]
    if lhs then
      local before = api.nvim_buf_call(edit.bufnr, function()
        return vim.fn.maparg(lhs, "n", false, true)
      end)
      edit.keys[#edit.keys + 1] = { lhs = lhs, before = before.buffer == 1 and before or nil }
      local described = ("coder-lsp: %s the model's change"):format(name)
      vim.keymap.set("n", lhs, act, { buffer = edit.bufnr, nowait = true, desc = described })
    end
  end
end

--- Nothing is shown any more; the text is as it is.
function M.clear()
  local edit = current
  current = nil
  api.nvim_create_augroup("coder_lsp.edit", {})
  if edit and api.nvim_buf_is_valid(edit.bufnr) then
    drop_keys(edit)
    api.nvim_buf_clear_namespace(edit.bufnr, M.namespace, 0, -1)
    api.nvim_buf_clear_namespace(edit.bufnr, anchors, 0, -1)
  end
end

--- The model is asked about these rows; whatever was shown goes.
---@param bufnr integer
---@param encoding string
---@param first integer
---@param last integer
---@param stop fun()
function M.begin(bufnr, encoding, first, last, stop)
  M.clear()
  local seen = api.nvim_buf_get_lines(bufnr, 0, -1, false)
  local anchor = api.nvim_buf_set_extmark(bufnr, anchors, first, 0, {
    end_row = last,
    end_col = #seen[last + 1],
    undo_restore = false,
  })
  current = {
    bufnr = bufnr,
    encoding = encoding,
    seen = seen,
    anchor = anchor,
    first = first,
    last = last,
    text = "",
    done = false,
    stop = stop,
    keys = {},
  }
  take_keys(current)
  api.nvim_create_autocmd("BufUnload", {
    group = api.nvim_create_augroup("coder_lsp.edit", {}),
    buffer = bufnr,
    desc = "coder-lsp: the text that a change was for goes",
    callback = function()
      M.dismiss()
    end,
  })
end

--- Where the change goes by now, its end at the end of the buffer's last line at most; nil where the text differs from
--- what the model saw.
---@param edit coder_lsp.Edit
---@return { first: integer, col: integer, last: integer, last_col: integer }?, string[]? lines
local function placed(edit)
  local range = edit.range
  local mark = api.nvim_buf_get_extmark_by_id(edit.bufnr, anchors, edit.anchor, { details = true })
  if not range or not mark[1] then
    return nil
  end
  local first = range.first + mark[1] - edit.first
  local last = range.last + mark[3].end_row - edit.last
  local before = vim.list_slice(edit.seen, range.first + 1, range.last + 1)
  local now = api.nvim_buf_get_lines(edit.bufnr, math.max(first, 0), math.max(last + 1, 0), false)
  if first < 0 or not vim.deep_equal(before, now) then
    return nil
  end
  local lines, count = vim.split(edit.text, "\n", { plain = true }), api.nvim_buf_line_count(edit.bufnr)
  local col, last_col = range.col, range.last_col
  if last >= count then
    -- Behind the last line's end, which is no place in a buffer.
    last, last_col = count - 1, #api.nvim_buf_get_lines(edit.bufnr, count - 1, count, false)[1]
    if lines[#lines] == "" then
      table.remove(lines)
    end
    if first >= count then
      first, col = last, last_col
      table.insert(lines, 1, "")
    end
  end
  return { first = first, col = col, last = last, last_col = last_col }, lines
end

--- What is asked of the user, below the text.
---@param edit coder_lsp.Edit
---@return string
local function note(edit)
  local keys = config.current.edit_keys
  local drop = keys.dismiss or ":CoderLsp dismiss-edit"
  if not edit.done then
    return ("coder-lsp is writing; %s stops it"):format(drop)
  end
  return ("%s puts it in, %s drops it"):format(keys.accept or ":CoderLsp accept-edit", drop)
end

---@param edit coder_lsp.Edit
local function draw(edit)
  api.nvim_buf_clear_namespace(edit.bufnr, M.namespace, 0, -1)
  local place, lines = placed(edit)
  if not place or not lines then
    return
  end
  api.nvim_set_hl(0, ADDED, { default = true, link = "DiffAdd" })
  api.nvim_set_hl(0, REMOVED, { default = true, link = "DiffDelete" })
  local last, above = place.last, false
  if place.last_col == 0 and place.last > place.first then
    last = place.last - 1
  elseif place.col == 0 and place.first == place.last and place.last_col == 0 and lines[#lines] == "" then
    -- Whole lines in front of this one.
    above = true
  end
  -- Line breaks that join the text to the lines around it are no lines of their own.
  if #lines > 1 and lines[1] == "" and place.col > 0 then
    table.remove(lines, 1)
  end
  if #lines > 1 and lines[#lines] == "" then
    table.remove(lines)
  end
  local drawn = {}
  if edit.text ~= "" then
    for _, line in ipairs(lines) do
      drawn[#drawn + 1] = { { (ghost.as_shown(line, 0)), ADDED } }
    end
  end
  drawn[#drawn + 1] = { { note(edit), NOTE } }
  if place.first ~= place.last or place.col ~= place.last_col then
    api.nvim_buf_set_extmark(edit.bufnr, M.namespace, place.first, place.col, {
      end_row = place.last,
      end_col = place.last_col,
      hl_group = REMOVED,
      undo_restore = false,
      strict = false,
    })
  end
  api.nvim_buf_set_extmark(edit.bufnr, M.namespace, last, 0, {
    virt_lines = drawn,
    virt_lines_above = above,
    undo_restore = false,
    strict = false,
  })
end

--- What the model has written so far, in place of a range of what it saw.
---@param range table of the protocol
---@param text string
---@param done boolean
function M.show(range, text, done)
  local edit = current
  if not edit then
    return
  end
  local function col(position)
    local line = edit.seen[position.line + 1] or ""
    return vim.str_byteindex(line, edit.encoding, position.character, false)
  end
  edit.range = {
    first = range.start.line,
    col = col(range.start),
    last = range["end"].line,
    last_col = col(range["end"]),
  }
  edit.text, edit.done = text:gsub("\r\n?", "\n"), done
  draw(edit)
end

--- Put the change in.
---@return boolean whether there was one
function M.accept()
  if not current then
    return false
  end
  if not current.done then
    vim.notify("coder-lsp: it is still being written", vim.log.levels.INFO)
    return true
  end
  -- By keys, as for suggestions: they work from an `expr` mapping too, and break the undo of insert mode.
  local inserting = api.nvim_get_mode().mode:sub(1, 1) == "i"
  local keys = inserting and "<C-g>u<Cmd>%s<CR><C-g>u" or "<Cmd>%s<CR>"
  api.nvim_feedkeys(vim.keycode(keys:format("lua require('coder_lsp.edit').apply()")), "ni", false)
  return true
end

--- What the keys of `accept` run.
function M.apply()
  local edit = current
  if not edit or not edit.done then
    return
  end
  local place, lines = placed(edit)
  M.clear()
  if not place or not lines or not vim.bo[edit.bufnr].modifiable then
    local why = place and "the buffer cannot be changed" or "the text was changed there meanwhile"
    vim.notify(("coder-lsp: %s; what the model wrote is in a window of its own"):format(why), vim.log.levels.WARN)
    local kept = vim.split(edit.text, "\n", { plain = true })
    require("coder_lsp.views").scratch("edit", kept, vim.bo[edit.bufnr].filetype)
    return
  end
  api.nvim_buf_set_text(edit.bufnr, place.first, place.col, place.last, place.last_col, lines)
  if api.nvim_get_current_buf() == edit.bufnr then
    local row = place.first + (lines[1] == "" and place.col > 0 and #lines > 1 and 1 or 0)
    local line = api.nvim_buf_get_lines(edit.bufnr, row, row + 1, false)[1]
    api.nvim_win_set_cursor(0, { row + 1, #line:match("^%s*") })
  end
end

--- Drop the change, and stop the model if it is still writing.
---@return boolean whether there was one
function M.dismiss()
  local edit = current
  M.clear()
  if edit then
    edit.stop()
  end
  return edit ~= nil
end

---@return boolean
function M.visible()
  return current ~= nil
end

return M
