--- From Neovim's events to the session, for all buffers at once. What an event costs where nothing is served is a look
--- into the list of clients.

local builtin = require("coder_lsp.builtin")
local client = require("coder_lsp.client")
local config = require("coder_lsp.config")
local feedback = require("coder_lsp.feedback")
local ghost = require("coder_lsp.ghost")
local menu = require("coder_lsp.menu")
local session = require("coder_lsp.session")

local api = vim.api

local M = {}

local group ---@type integer?

-- Behind the event: for `a` and `o` the cursor is not where it will be yet.
local begin_insert = vim.schedule_wrap(function()
  local bufnr = api.nvim_get_current_buf()
  local lsp_client = client.of_buffer(bufnr)
  if lsp_client and session.inserting() then
    builtin.keep_off(lsp_client, bufnr)
    menu.watch_cmp(session.menu_changed)
    feedback.focus(lsp_client, bufnr)
    session.update()
  end
end)

local function watch()
  group = api.nvim_create_augroup("coder_lsp.events", {})
  local function on(events, described, callback)
    api.nvim_create_autocmd(events, {
      group = group,
      desc = "coder-lsp: " .. described,
      callback = function(event)
        -- What a callback returns could delete the autocommand.
        callback(event)
      end,
    })
  end
  ghost.define_highlights()
  on("ColorScheme", "highlight groups", ghost.define_highlights)
  on("InsertEnter", "insert mode begins", begin_insert)
  on({ "InsertLeave", "BufLeave", "WinLeave" }, "the suggestion goes", session.leave)
  on({ "CursorMovedI", "TextChangedI", "TextChangedP" }, "something was typed", session.update)
  on("BufEnter", "the user goes to a buffer", function(event)
    local lsp_client = client.of_buffer(event.buf)
    if lsp_client then
      feedback.focus(lsp_client, event.buf)
    end
  end)
  on("CursorMoved", "the user goes far", function(event)
    if client.of_buffer(event.buf) then
      feedback.moved(event.buf, config.current.focus_lines)
    end
  end)
  on("LspDetach", "a buffer is not served any more", function(event)
    client.detached(event.data.client_id, event.buf)
  end)
  on("BufDelete", "a buffer goes", function(event)
    feedback.forget(event.buf)
  end)
  menu.watch(group, session.menu_changed)
end

--- A client of ours serves a buffer.
---@param lsp_client vim.lsp.Client
---@param bufnr integer
function M.attach(lsp_client, bufnr)
  if not group then
    watch()
    client.when_gone(session.clear)
  end
  client.attached(lsp_client, bufnr)
  builtin.keep_off(lsp_client, bufnr)
  if bufnr == api.nvim_get_current_buf() then
    feedback.focus(lsp_client, bufnr)
    -- The server came while the user is typing already.
    session.refresh()
  end
end

return M
