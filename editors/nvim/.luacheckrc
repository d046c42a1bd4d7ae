std = "luajit"
read_globals = { "vim" }
globals = { "vim.g", "vim.b", "vim.bo", "vim.o", "vim.wo", "vim.lsp" }
max_line_length = 120
self = false
