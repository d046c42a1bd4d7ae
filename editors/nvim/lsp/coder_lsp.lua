-- For `vim.lsp.enable("coder_lsp")`, with or without `require("coder_lsp").setup()`.
return require("coder_lsp.client").lsp_config()
