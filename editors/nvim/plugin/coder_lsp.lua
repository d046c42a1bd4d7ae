-- Commands, <Plug> mappings and the one event that starts everything else; nothing is loaded before it is used.
if vim.g.loaded_coder_lsp then
  return
end
vim.g.loaded_coder_lsp = true

if vim.fn.has("nvim-0.11") == 0 then
  vim.notify("coder-lsp needs Neovim 0.11 or newer", vim.log.levels.ERROR)
  return
end

vim.api.nvim_create_user_command("CoderLsp", function(command)
  require("coder_lsp.commands").run(command)
end, {
  nargs = "*",
  range = true,
  bang = true,
  desc = "Status, models, context and everything else of coder-lsp",
  complete = function(lead, line, position)
    return require("coder_lsp.commands").complete(lead, line, position)
  end,
})

for name, described in pairs({
  accept = "Accept the suggestion",
  ["accept-word"] = "Accept the next word of the suggestion",
  ["accept-line"] = "Accept the next line of the suggestion",
  next = "Next alternative",
  previous = "Previous alternative",
  dismiss = "Dismiss the suggestion",
  trigger = "Ask for suggestions here",
}) do
  vim.keymap.set("i", ("<Plug>(coder-lsp-%s)"):format(name), function()
    require("coder_lsp")[name:gsub("-", "_")]()
  end, { desc = ("coder-lsp: %s"):format(described), silent = true })
end

for name, described in pairs({
  ["accept-edit"] = "Put in what the model wrote",
  ["dismiss-edit"] = "Drop what the model wrote",
}) do
  vim.keymap.set("n", ("<Plug>(coder-lsp-%s)"):format(name), function()
    require("coder_lsp")[name:gsub("-", "_")]()
  end, { desc = ("coder-lsp: %s"):format(described), silent = true })
end

vim.api.nvim_create_autocmd("LspAttach", {
  group = vim.api.nvim_create_augroup("coder_lsp.attach", {}),
  desc = "coder-lsp: show suggestions in the buffers it serves",
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == "coder_lsp" then
      require("coder_lsp.events").attach(client, event.buf)
    end
  end,
})
