(function_declaration name: (_) @name) @function
(chunk (assignment_statement (variable_list name: (_) @name) (expression_list value: (function_definition body: (_)? @body))) @function)
(chunk (assignment_statement (variable_list name: (_) @name)) @constant)
(chunk (variable_declaration (assignment_statement (variable_list name: (_) @name) (expression_list value: (function_definition body: (_)? @body)))) @function)
(chunk (variable_declaration (assignment_statement (variable_list name: (_) @name))) @constant)
(field name: (identifier) @name value: (function_definition body: (_)? @body)) @method
(ERROR) @error
