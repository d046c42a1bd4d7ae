--- What is suggested in the current buffer: when to ask, what to keep while the user types, what to show.
---
--- One suggestion at a time, as there is one cursor. Every event of insert mode ends in `M.update`, which does nothing
--- if neither text nor cursor changed, so it does not matter how many events a key has. No delay of our own before
--- asking about typed text: the server waits as long as keys come fast, and knows better how long. A request that the
--- next key makes old is cancelled right after the new one went out, in that order, so that the server can go on with
--- what it was writing for the old one.

local client = require("coder_lsp.client")
local config = require("coder_lsp.config")
local feedback = require("coder_lsp.feedback")
local ghost = require("coder_lsp.ghost")
local menu = require("coder_lsp.menu")
local pause = require("coder_lsp.pause")
local suggestion = require("coder_lsp.suggestion")

local api = vim.api

local M = {}

local AUTOMATIC, INVOKED = 2, 1
local METHOD = "textDocument/inlineCompletion"

---@type coder_lsp.Answer?
local answer
---@type coder_lsp.Rest? what is on screen, or would be without a menu over it
local rest
---@type { lsp_client: vim.lsp.Client, id: integer? }?
local in_flight
---@type { bufnr: integer, tick: integer, row: integer, col: integer }? where the last update was
local seen
---@type table? a change of the text ends it
local dismissed
---@type uv.uv_timer_t?
local move_timer
local counted = false

---@return boolean
function M.inserting()
  -- Not in replace mode: what is typed there takes text away, and a suggestion would not say so.
  return api.nvim_get_mode().mode:sub(1, 1) == "i"
end

---@return { bufnr: integer, tick: integer, row: integer, col: integer }
local function here()
  local bufnr, cursor = api.nvim_get_current_buf(), api.nvim_win_get_cursor(0)
  return { bufnr = bufnr, tick = api.nvim_buf_get_changedtick(bufnr), row = cursor[1] - 1, col = cursor[2] }
end

---@param a table?
---@param b table?
local function same(a, b)
  return a ~= nil and b ~= nil and a.bufnr == b.bufnr and a.tick == b.tick and a.row == b.row and a.col == b.col
end

local function cancel()
  if move_timer then
    move_timer:stop()
  end
  local old = in_flight
  in_flight = nil
  if old and old.id and not old.lsp_client:is_stopped() then
    old.lsp_client:cancel_request(old.id)
  end
end

local function forget()
  answer, rest, counted = nil, nil, false
  ghost.clear()
end

--- Nothing suggested, nothing asked.
function M.clear()
  cancel()
  forget()
end

--- Draw what is left of the answer, or take it down.
local function render()
  if not rest or not answer then
    ghost.clear()
    return
  end
  local hide = config.current.hide_when_menu_visible
  local under_menu = hide ~= false and menu.visible()
  if under_menu and hide == true then
    ghost.clear()
    return
  end
  local note
  if counted and config.current.show_count then
    local fits = suggestion.fitting(answer)
    for number, fit in ipairs(fits) do
      if fit.index == answer.index and #fits > 1 then
        note = (" (%d/%d)"):format(number, #fits)
      end
    end
  end
  local bufnr = answer.place.bufnr
  ghost.show(bufnr, rest, { note = note, first_only = under_menu })
  local lsp_client = client.of_buffer(bufnr)
  if lsp_client then
    feedback.shown(lsp_client, rest.item)
  end
end

--- Whether a new answer takes the place of the one on screen.
---@param new coder_lsp.Answer
---@param invoked boolean
---@return boolean
local function takes_over(new, invoked)
  local new_rest = suggestion.follow(new)
  if not new_rest then
    return false
  end
  if not answer or not rest or invoked then
    return true
  end
  if counted then
    -- Chosen among alternatives: no answer that comes by itself takes that away.
    return false
  end
  if new_rest.text == rest.text and not new_rest.item.rewrites then
    -- The same again, typed into: its alternatives are still there.
    suggestion.merge(new, answer, false)
    return true
  end
  -- Less of the same: what is on screen stays, a suggestion must not shrink while it is read.
  return rest.text:sub(1, #new_rest.text) ~= new_rest.text
end

---@param new coder_lsp.Answer?
---@param step integer? alternatives to go on by
---@param invoked boolean
local function receive(new, step, invoked)
  if not M.inserting() or dismissed then
    return
  end
  if step and answer then
    -- Asked once, whatever came of it.
    answer.complete = true
  end
  if new and step and answer and rest and suggestion.follow(new) then
    -- Asked for alternatives: the one on screen stays the first.
    suggestion.merge(new, answer, true)
    answer, rest = new, suggestion.follow(new)
    M.step(step)
    return
  end
  if new and takes_over(new, invoked) then
    answer, counted = new, invoked and #new.items > 1
    rest = suggestion.follow(new)
  elseif invoked and not rest then
    api.nvim_echo({ { "coder-lsp: no suggestion here" } }, false, {})
  end
  render()
end

---@param lsp_client vim.lsp.Client
---@param bufnr integer
---@param kind integer
---@param step integer?
local function ask(lsp_client, bufnr, kind, step)
  local cursor = api.nvim_win_get_cursor(0)
  local row = cursor[1] - 1
  local line = api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ""
  local place = { bufnr = bufnr, row = row, col = math.min(cursor[2], #line), line = line }
  local encoding = lsp_client.offset_encoding
  local params = {
    textDocument = { uri = vim.uri_from_bufnr(bufnr) },
    position = { line = row, character = suggestion.units(line, encoding, place.col) },
    context = { triggerKind = kind },
  }
  local mine = { lsp_client = lsp_client }
  local sent, id = lsp_client:request(METHOD, params, function(fault, result)
    if in_flight ~= mine then
      return
    end
    in_flight = nil
    if not fault then
      receive(suggestion.answer(result, place, encoding, kind == INVOKED), step, kind == INVOKED)
    end
  end, bufnr)
  cancel()
  if sent then
    mine.id = id
    in_flight = mine
  end
end

---@param lsp_client vim.lsp.Client
---@param at table
local function ask_later(lsp_client, at)
  cancel()
  move_timer = move_timer or vim.uv.new_timer()
  if not move_timer then
    return
  end
  move_timer:start(
    config.current.move_delay_ms,
    0,
    vim.schedule_wrap(function()
      if same(at, here()) and M.inserting() and not lsp_client:is_stopped() then
        ask(lsp_client, at.bufnr, AUTOMATIC)
      end
    end)
  )
end

--- Text or cursor may have changed.
function M.update()
  local bufnr = api.nvim_get_current_buf()
  local lsp_client = client.of_buffer(bufnr)
  if not lsp_client or not M.inserting() then
    if answer or in_flight then
      M.clear()
    end
    seen = nil
    return
  end
  local now = here()
  if same(seen, now) then
    return
  end
  local before = seen
  seen = now
  local edited = not before or before.bufnr ~= bufnr or before.tick ~= now.tick
  if edited then
    dismissed = nil
  end
  if answer then
    rest = suggestion.follow(answer)
    if not rest then
      answer, counted = nil, false
    end
  end
  render()
  -- A macro types faster than anyone reads.
  if not config.current.automatic or pause.reason(bufnr) or vim.fn.reg_executing() ~= "" then
    cancel()
  elseif dismissed then
    cancel()
  elseif edited then
    ask(lsp_client, bufnr, AUTOMATIC)
  else
    ask_later(lsp_client, now)
  end
end

--- Something else than text and cursor changed: a menu, a pause.
function M.refresh()
  if pause.reason(api.nvim_get_current_buf()) then
    M.clear()
  end
  seen = nil
  if M.inserting() then
    M.update()
  end
end

--- A menu opened or closed. Behind the event, in which the menu is not yet there, or still.
M.menu_changed = vim.schedule_wrap(function()
  if rest then
    render()
  end
end)

--- What an accept function would take: only what is on screen counts.
---@return coder_lsp.Answer?, coder_lsp.Rest?
function M.shown()
  if not answer or not ghost.visible() or not M.inserting() then
    return nil, nil
  end
  -- Keys may have been typed that no event has told of yet.
  rest = suggestion.follow(answer)
  if not rest then
    forget()
    return nil, nil
  end
  return answer, rest
end

--- The next (or -1: previous) alternative; asks for alternatives where the server was not asked for all of them yet.
---@param step integer
---@return boolean whether there was a suggestion
function M.step(step)
  local current = M.shown()
  if not current then
    return false
  end
  local fits, at = suggestion.fitting(current), 1
  local lsp_client = client.of_buffer(current.place.bufnr)
  if not current.complete and lsp_client then
    ask(lsp_client, current.place.bufnr, INVOKED, step)
    return true
  end
  for number, fit in ipairs(fits) do
    at = fit.index == current.index and number or at
  end
  local fit = fits[(at - 1 + step) % #fits + 1]
  current.index, rest, counted = fit.index, fit.rest, true
  render()
  return true
end

--- Ask for suggestions here, whatever was dismissed before.
---@return boolean whether it could be asked
function M.trigger()
  local bufnr = api.nvim_get_current_buf()
  local lsp_client = client.of_buffer(bufnr)
  if not lsp_client or not M.inserting() then
    return false
  end
  local why = pause.reason(bufnr)
  if why then
    api.nvim_echo({ { ("coder-lsp: paused; `:CoderLsp resume %s` ends it"):format(why) } }, false, {})
    return false
  end
  dismissed = nil
  seen = here()
  ask(lsp_client, bufnr, INVOKED)
  return true
end

--- Take the suggestion down until something is typed, and say that it was not wanted.
---@return boolean whether there was one
function M.dismiss()
  local current, shown = M.shown()
  if not current or not shown then
    return false
  end
  local lsp_client = client.of_buffer(current.place.bufnr)
  if lsp_client then
    feedback.rejected(lsp_client, shown.item)
  end
  M.clear()
  seen = here()
  dismissed = seen
  return true
end

--- Insert mode or the buffer was left.
function M.leave()
  seen, dismissed = nil, nil
  M.clear()
end

return M
