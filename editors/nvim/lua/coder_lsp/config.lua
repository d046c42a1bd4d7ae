--- Options of `setup`: for each its default, what it may be, and what it is for. A fault costs that option, never the
--- rest: all faults are told in one message and the defaults stand in for them.

local M = {}

---@class coder_lsp.Option
---@field default any
---@field check fun(value: any): boolean
---@field expected string

local function is(kind)
  return function(value)
    return type(value) == kind
  end
end

local function strings(value)
  if type(value) ~= "table" or not vim.islist(value) then
    return false
  end
  return vim.iter(value):all(is("string"))
end

local function whole(least, most)
  return function(value)
    return type(value) == "number" and value % 1 == 0 and value >= least and value <= most
  end
end

---@type table<string, coder_lsp.Option>
M.options = {
  auto_start = { default = true, check = is("boolean"), expected = "true or false" },
  automatic = { default = true, check = is("boolean"), expected = "true or false" },
  cmd = {
    default = nil,
    check = function(value)
      return strings(value) and #value > 0
    end,
    expected = "a list of strings, the program first",
  },
  disabled_filetypes = { default = {}, check = strings, expected = "a list of strings" },
  edit_keys = {
    default = {},
    check = function(value)
      return type(value) == "table"
        and vim.iter(pairs(value)):all(function(name, key)
          return (name == "accept" or name == "dismiss") and type(key) == "string" and key ~= ""
        end)
    end,
    expected = "a table with accept or dismiss, keys of normal mode",
  },
  filetypes = { default = nil, check = strings, expected = "a list of strings" },
  focus_lines = { default = 20, check = whole(1, 100000), expected = "a whole number from 1 to 100000" },
  hide_when_menu_visible = {
    default = true,
    check = function(value)
      return type(value) == "boolean" or value == "lines"
    end,
    expected = 'true, false or "lines"',
  },
  icons = { default = false, check = is("boolean"), expected = "true or false" },
  install = { default = {}, check = is("table"), expected = "a table with python or source" },
  log_level = {
    default = "info",
    check = function(value)
      return vim.list_contains({ "debug", "info", "warning", "error" }, value)
    end,
    expected = "debug, info, warning or error",
  },
  max_file_kb = { default = 5000, check = whole(1, 1000000), expected = "a whole number from 1 to 1000000" },
  max_restarts = { default = 4, check = whole(0, 100), expected = "a whole number from 0 to 100" },
  move_delay_ms = { default = 60, check = whole(0, 5000), expected = "a whole number from 0 to 5000" },
  root_markers = {
    default = { ".git", ".hg", "pyproject.toml", "package.json", "Cargo.toml", "go.mod", "CMakeLists.txt" },
    check = strings,
    expected = "a list of strings",
  },
  settings = {
    default = {},
    check = function(value)
      return type(value) == "table" and (vim.tbl_isempty(value) or not vim.islist(value))
    end,
    expected = "a table of the server's settings",
  },
  show_count = { default = true, check = is("boolean"), expected = "true or false" },
}

---@type table<string, any>
M.current = {}

---@return table<string, any>
local function defaults()
  local values = {}
  for name, option in pairs(M.options) do
    values[name] = vim.deepcopy(option.default)
  end
  return values
end

---@param value any
---@return string
local function described(value)
  if type(value) == "table" then
    return vim.islist(value) and "a list" or "a table"
  end
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

---@param name string
---@return string
local function unknown(name)
  local near = vim.fn.matchfuzzy(vim.tbl_keys(M.options), name)[1]
  if not near then
    -- A missing or wrong letter, where the fuzzy match wants all of them.
    for known in pairs(M.options) do
      if known:sub(1, 4) == name:sub(1, 4) then
        near = known
      end
    end
  end
  return ("unknown option `%s`%s"):format(name, near and (", did you mean `%s`?"):format(near) or "")
end

--- Options merged with the defaults, and what is wrong with them.
---@param given any
---@return table<string, any> values
---@return string[] faults
function M.merged(given)
  local values, faults = defaults(), {}
  if given ~= nil and type(given) ~= "table" then
    return values, { ("setup takes a table, not %s"):format(described(given)) }
  end
  local names = vim.tbl_keys(given or {})
  table.sort(names, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, name in ipairs(names) do
    local option, value = M.options[name], given[name]
    if not option then
      faults[#faults + 1] = unknown(tostring(name))
    elseif not option.check(value) then
      faults[#faults + 1] = ("`%s` must be %s, not %s"):format(name, option.expected, described(value))
    else
      values[name] = vim.deepcopy(value)
    end
  end
  return values, faults
end

--- Take the options over; faults are told in one message.
---@param given any
---@return string[] faults
function M.apply(given)
  local faults
  M.current, faults = M.merged(given)
  M.faults = faults
  if #faults > 0 then
    local what = #faults == 1 and "an option cannot be used" or ("%d options cannot be used"):format(#faults)
    local message = ("coder-lsp: %s, the defaults stand in:\n- %s"):format(what, table.concat(faults, "\n- "))
    vim.notify(message, vim.log.levels.WARN)
  end
  return faults
end

---@type string[]
M.faults = {}
M.current = defaults()

return M
