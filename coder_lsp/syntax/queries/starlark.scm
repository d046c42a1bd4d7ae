; What Starlark kept of an older Python grammar.
(module (expression_statement (assignment left: (identifier) @name) @constant))
