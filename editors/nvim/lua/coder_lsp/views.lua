--- Scratch windows and the texts in them: what the model sees, statistics, status. Writes no file.

local M = {}

local api = vim.api

--- A split with these lines; `q` closes it.
---@param name string
---@param lines string[]
---@param filetype string
---@param height integer? as many as there are lines, within half of the screen
---@return integer bufnr
function M.scratch(name, lines, filetype, height)
  local bufnr = api.nvim_create_buf(false, true)
  api.nvim_buf_set_lines(bufnr, 0, -1, false, lines)
  vim.bo[bufnr].bufhidden = "wipe"
  vim.bo[bufnr].modifiable = false
  vim.bo[bufnr].filetype = filetype
  pcall(api.nvim_buf_set_name, bufnr, ("coder-lsp://%s/%d"):format(name, bufnr))
  height = height or math.max(3, math.min(#lines, math.floor(vim.o.lines / 2)))
  api.nvim_open_win(bufnr, true, { split = "below", win = -1, height = height })
  vim.keymap.set("n", "q", "<Cmd>close<CR>", { buffer = bufnr, nowait = true, desc = "Close" })
  return bufnr
end

---@param text string?
---@return string[]
local function lines_of(text)
  return vim.split((text or ""):gsub("\r\n?", "\n"):gsub("\n$", ""), "\n", { plain = true })
end

--- The answer of coder-lsp.context.
---@param result table
---@return string[]
function M.context_lines(result)
  local function comment(text)
    local form = vim.bo.commentstring ~= "" and vim.bo.commentstring or "# %s"
    return (form:gsub("%%s", (text:gsub("%%", "%%%%"))))
  end
  local lines = {
    comment(
      ("what the model sees of other files here: %s of %s tokens"):format(result.tokens or 0, result.budget or "?")
    ),
  }
  if result.reason and result.reason ~= "" then
    lines[#lines + 1] = comment(result.reason)
  end
  for _, snippet in ipairs(result.snippets or {}) do
    local form = "%s:%s-%s  %s  %.2f"
    lines[#lines + 1] =
      comment(form:format(snippet.path, snippet.startLine, snippet.endLine, snippet.source or "", snippet.score or 0))
  end
  lines[#lines + 1] = ""
  return vim.list_extend(lines, lines_of(result.text))
end

---@param name string
---@param figures table
local function stats_row(name, figures)
  local ms = figures.latencyP50Ms
  return ("%-14s %8s %9s %7s %11s %9s"):format(
    name,
    figures.shown or 0,
    figures.accepted or 0,
    type(figures.acceptance) == "number" and ("%.0f %%"):format(100 * figures.acceptance) or "-",
    figures.savedCharacters or figures.acceptedCharacters or 0,
    type(ms) == "number" and ("%.0f ms"):format(ms) or "-"
  )
end

--- The answer of coder-lsp.stats.
---@param result table
---@return string[]
function M.stats_lines(result)
  local head = ("%-14s %8s %9s %7s %11s %9s"):format("", "shown", "accepted", "of read", "characters", "median")
  local lines = { "What became of the suggestions you were shown. Counts and times, never text.", "", head }
  if type(result.overall) == "table" then
    lines[#lines + 1] = stats_row("overall", result.overall)
  end
  local languages = result.languages or {}
  if vim.islist(languages) then
    for _, figures in ipairs(languages) do
      lines[#lines + 1] = stats_row(figures.language or figures.name or "?", figures)
    end
  else
    local names = vim.tbl_keys(languages)
    table.sort(names)
    for _, name in ipairs(names) do
      lines[#lines + 1] = stats_row(name, languages[name])
    end
  end
  if result.days and #result.days > 0 then
    vim.list_extend(lines, { "", "by day" })
    for _, day in ipairs(result.days) do
      lines[#lines + 1] = stats_row(day.date or "?", day.figures or day)
    end
  end
  return lines
end

--- The answer of coder-lsp.status, with what only the editor knows.
---@param result table?
---@param info coder_lsp.StatusInfo
---@return string[]
function M.status_lines(result, info)
  local lines = { ("state    %s%s"):format(info.state, info.percent and (" %d %%"):format(info.percent) or "") }
  local function add(name, value)
    if value and value ~= "" then
      lines[#lines + 1] = ("%-8s %s"):format(name, value)
    end
  end
  add("message", info.message)
  add("model", info.model)
  add("engine", info.engine)
  add("network", info.offline and "forbidden (offline)" or nil)
  add("paused", info.paused)
  add("buffer", info.attached and "served" or "not served")
  local index = result and result.index or info.index
  if type(index) == "table" then
    add("index", ("%s, %s files, %s pending"):format(index.state, index.files, index.pending))
  end
  if result and #(result.pausedScopes or {}) > 0 then
    add("paused", table.concat(result.pausedScopes, ", "))
  end
  if result and type(result.host) == "table" then
    add("host", ("process %s, %s clients"):format(result.host.pid or "?", result.host.clients or "?"))
  end
  local command, how = require("coder_lsp.server").serve()
  add("server", command and ("%s (%s)"):format(table.concat(command, " "), how) or how)
  return lines
end

--- A command of ours in a terminal below, so that what it prints is seen as it comes.
---@param command string[]
---@return integer bufnr
function M.terminal(command)
  local bufnr = api.nvim_create_buf(false, true)
  api.nvim_open_win(bufnr, true, { split = "below", win = -1, height = math.floor(vim.o.lines / 2) })
  vim.bo[bufnr].bufhidden = "wipe"
  vim.fn.jobstart(command, { term = true })
  vim.keymap.set("n", "q", "<Cmd>close<CR>", { buffer = bufnr, nowait = true, desc = "Close" })
  return bufnr
end

---@param path string
function M.log(path)
  if vim.fs.normalize(api.nvim_buf_get_name(0)) ~= vim.fs.normalize(path) then
    vim.cmd.split(vim.fn.fnameescape(path))
  end
  vim.bo.autoread = true
  vim.cmd("normal! G")
end

return M
