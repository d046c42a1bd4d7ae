--- The model follows an instruction: generate, rewrite, explain, write tests. What is asked of the server, and where
--- its answer goes while it grows: a change into edit.lua, an explanation and tests into a window.

local client = require("coder_lsp.client")
local edit = require("coder_lsp.edit")
local views = require("coder_lsp.views")

local api = vim.api

local M = {}

---@alias coder_lsp.Task "generate"|"rewrite"|"explain"|"tests"

---@class coder_lsp.Place
---@field first integer row
---@field col integer byte
---@field last integer
---@field last_col integer

local COMMANDS = {
  generate = "coder-lsp.generate",
  rewrite = "coder-lsp.rewrite",
  explain = "coder-lsp.explain",
  tests = "coder-lsp.writeTests",
}

---@class coder_lsp.Instruction
---@field id string
---@field lsp_client vim.lsp.Client
---@field request integer?
---@field show fun(range: table, text: string, done: boolean)
---@field ended fun(result: table?) without a result: it came to nothing

---@type coder_lsp.Instruction?
local running
local count = 0
local watching = false

--- Take the running one off: nobody waits for it any more.
---@return coder_lsp.Instruction?
local function leave()
  local was = running
  running = nil
  if was and was.request and not was.lsp_client:is_stopped() then
    was.lsp_client:cancel_request(was.request)
  end
  return was
end

--- Stop the model. A change goes; an explanation stays as far as it came.
---@return boolean whether it was writing
function M.stop()
  local was = leave()
  if was then
    was.ended(nil)
  end
  return was ~= nil
end

--- A `coder-lsp/preview` of the server's.
---@param params any
function M.preview(params)
  if running and type(params) == "table" and params.id == running.id and not params.done then
    running.show(params.range, params.text, false)
  end
end

---@param bufnr integer
---@param text string
local function fill(bufnr, text)
  if not api.nvim_buf_is_valid(bufnr) then
    return
  end
  vim.bo[bufnr].modifiable = true
  api.nvim_buf_set_lines(bufnr, 0, -1, false, vim.split(text:gsub("\r\n?", "\n"), "\n", { plain = true }))
  vim.bo[bufnr].modifiable = false
end

--- A window that the answer grows in; closing it stops the model.
---@param name string
---@param filetype string
---@return integer bufnr
local function window(name, filetype)
  local bufnr = views.scratch(name, { "…" }, filetype, math.max(8, math.floor(vim.o.lines / 3)))
  vim.wo.wrap, vim.wo.linebreak = true, true
  local mine = count
  api.nvim_create_autocmd("BufWipeout", {
    buffer = bufnr,
    desc = "coder-lsp: nobody reads the answer any more",
    callback = function()
      if running and running.id == tostring(mine) then
        leave()
      end
    end,
  })
  return bufnr
end

---@param task coder_lsp.Task
---@param bufnr integer
---@param place coder_lsp.Place
---@param lsp_client vim.lsp.Client
---@return fun(range: table, text: string, done: boolean) show, fun(result: table?) ended
local function outlet(task, bufnr, place, lsp_client)
  if task == "generate" or task == "rewrite" then
    edit.begin(bufnr, lsp_client.offset_encoding, place.first, place.last, leave)
    return edit.show,
      function(result)
        if result and result.reason == "" then
          edit.show(result.range, result.text, true)
        else
          edit.clear()
        end
      end
  end
  local shown =
    window(task == "explain" and "explanation" or "tests", task == "explain" and "markdown" or vim.bo.filetype)
  local function show(_, text)
    fill(shown, text)
  end
  return show,
    function(result)
      if not result then
        return
      end
      fill(shown, result.text)
      if result.applied then
        -- The server had a file made of them, which is on screen by now.
        api.nvim_buf_delete(shown, { force = true })
      end
    end
end

--- A server that ended answers nothing.
local function watch()
  if not watching then
    watching = true
    client.when_gone(function()
      if running and running.lsp_client:is_stopped() then
        M.stop()
      end
    end)
  end
end

---@param lsp_client vim.lsp.Client
---@param bufnr integer
---@param place coder_lsp.Place
---@return table range of the protocol
local function protocol_range(lsp_client, bufnr, place)
  local function position(row, col)
    local line = api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ""
    return { line = row, character = vim.str_utfindex(line, lsp_client.offset_encoding, math.min(col, #line), false) }
  end
  return { start = position(place.first, place.col), ["end"] = position(place.last, place.last_col) }
end

--- Have the model follow the instruction in the current buffer.
---@param task coder_lsp.Task
---@param place coder_lsp.Place
---@param options { instruction: string, outline: boolean }
function M.run(task, place, options)
  local bufnr = api.nvim_get_current_buf()
  local lsp_client = client.of_buffer(bufnr)
  if not lsp_client then
    vim.notify("coder-lsp: this buffer is not served; `:checkhealth coder_lsp` says why", vim.log.levels.WARN)
    return
  end
  M.stop()
  watch()
  count = count + 1
  local argument = {
    uri = vim.uri_from_bufnr(bufnr),
    range = protocol_range(lsp_client, bufnr, place),
    instruction = options.instruction,
    outline = options.outline,
    id = tostring(count),
    -- A file of tests is the server's to name; everything else is put in here, when the user says so.
    apply = task == "tests",
  }
  local mine = { id = argument.id, lsp_client = lsp_client }
  mine.show, mine.ended = outlet(task, bufnr, place, lsp_client)
  running = mine
  local function reply(result, message)
    if running ~= mine then
      return
    end
    running = nil
    mine.ended(result)
    local why = message or result and result.reason
    if why and why ~= "" then
      vim.notify(("coder-lsp: %s"):format(why), message and vim.log.levels.ERROR or vim.log.levels.INFO)
    end
  end
  mine.request = client.execute(lsp_client, COMMANDS[task], { argument }, reply)
end

--- Characters from the visual selection, if it is one of characters and these are its lines; else whole lines.
---@param first integer line, from 1
---@param last integer
---@return coder_lsp.Place
local function lines_or_selection(first, last)
  local from, to = vim.fn.getpos("'<"), vim.fn.getpos("'>")
  local line = api.nvim_buf_get_lines(0, last - 1, last, false)[1] or ""
  if vim.fn.visualmode() ~= "v" or from[2] ~= first or to[2] ~= last or to[3] > #line then
    return { first = first - 1, col = 0, last = last - 1, last_col = #line }
  end
  local exclusive = vim.o.selection == "exclusive"
  local last_col = exclusive and to[3] - 1 or to[3] + vim.str_utf_end(line, to[3])
  return { first = first - 1, col = from[3] - 1, last = last - 1, last_col = last_col }
end

--- What a `:CoderLsp` with or without a range is about: that range; without one the cursor for new code, the whole file
--- for tests, and the line for everything else, as with Vim's own commands.
---@param task coder_lsp.Task
---@param command { range: integer, line1: integer, line2: integer }
---@return coder_lsp.Place
local function place_of(task, command)
  if command.range > 0 then
    return lines_or_selection(command.line1, command.line2)
  end
  local cursor = api.nvim_win_get_cursor(0)
  local row = cursor[1] - 1
  if task == "generate" then
    return { first = row, col = cursor[2], last = row, last_col = cursor[2] }
  end
  local first, last = row, row
  if task == "tests" then
    first, last = 0, api.nvim_buf_line_count(0) - 1
  end
  local line = api.nvim_buf_get_lines(0, last, last + 1, false)[1]
  return { first = first, col = 0, last = last, last_col = #line }
end

--- As a sub-command of `:CoderLsp`. Rewriting asks how, if that was not said.
---@param task coder_lsp.Task
---@param instruction string
---@param command { range: integer, line1: integer, line2: integer, bang: boolean }
function M.command(task, instruction, command)
  local place = place_of(task, command)
  local bufnr, tick = api.nvim_get_current_buf(), vim.b.changedtick
  local function go(told)
    M.run(task, place, { instruction = told, outline = command.bang })
  end
  if task ~= "rewrite" or instruction ~= "" then
    go(instruction)
    return
  end
  vim.ui.input({ prompt = "Rewrite how? " }, function(told)
    told = vim.trim(told or "")
    if told ~= "" and api.nvim_get_current_buf() == bufnr and vim.b.changedtick == tick then
      go(told)
    end
  end)
end

return M
