--- Where no suggestions are wanted for now. Kept here, so that nothing is even asked, and told to the server, so that
--- its status says so; a server that starts later is told then.

local M = {}

---@type boolean
local everywhere = false
---@type table<string, true> languages and documents, by what the server calls them
local scopes = {}

---@param bufnr integer
---@return string
local function language_of(bufnr)
  local lsp_client = require("coder_lsp.client").of_buffer(bufnr)
  local filetype = vim.bo[bufnr].filetype
  return lsp_client and lsp_client.get_language_id(bufnr, filetype) or filetype
end

---@param kind "all"|"buffer"|"filetype"
---@param bufnr integer
---@return string? scope nil is everywhere
function M.scope(kind, bufnr)
  if kind == "buffer" then
    return vim.uri_from_bufnr(bufnr)
  elseif kind == "filetype" then
    return language_of(bufnr)
  end
  return nil
end

---@param kind "all"|"buffer"|"filetype"
---@param bufnr integer
---@param on boolean
function M.set(kind, bufnr, on)
  local scope = M.scope(kind, bufnr)
  if scope == "" then
    vim.notify("coder-lsp: this buffer has no file type to pause", vim.log.levels.WARN)
    return
  end
  local client = require("coder_lsp.client")
  local command = on and "coder-lsp.pause" or "coder-lsp.resume"
  if scope then
    scopes[scope] = on or nil
    client.execute_all(command, { scope })
  else
    everywhere = on
    if not on then
      -- The server ends all pauses then; so it is here.
      for each in pairs(scopes) do
        client.execute_all(command, { each })
      end
      scopes = {}
    end
    client.execute_all(command, {})
  end
  require("coder_lsp.status").refresh()
  require("coder_lsp.session").refresh()
end

--- Tell a server that has just started.
---@param lsp_client vim.lsp.Client
function M.tell(lsp_client)
  local client = require("coder_lsp.client")
  if everywhere then
    client.execute(lsp_client, "coder-lsp.pause", {})
  end
  for scope in pairs(scopes) do
    client.execute(lsp_client, "coder-lsp.pause", { scope })
  end
end

---@param bufnr integer
---@return "all"|"buffer"|"filetype"|nil
function M.reason(bufnr)
  if everywhere then
    return "all"
  elseif next(scopes) == nil then
    return nil
  elseif scopes[vim.uri_from_bufnr(bufnr)] then
    return "buffer"
  elseif scopes[language_of(bufnr)] then
    return "filetype"
  end
  return nil
end

return M
