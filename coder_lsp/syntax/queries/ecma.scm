; JavaScript, and what TypeScript took over from it.
(export_statement) @outer
(class_declaration name: (_) @name) @class
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(method_definition name: (_) @name) @method
(field_definition property: (_) @name) @field
(program (lexical_declaration (variable_declarator name: (identifier) @name value: (arrow_function body: (_) @body))) @function)
(program (lexical_declaration (variable_declarator name: (identifier) @name value: (function_expression body: (_) @body))) @function)
(program (lexical_declaration (variable_declarator name: (identifier) @name)) @constant)
(program (variable_declaration (variable_declarator name: (identifier) @name value: (arrow_function body: (_) @body))) @function)
(program (variable_declaration (variable_declarator name: (identifier) @name value: (function_expression body: (_) @body))) @function)
(program (variable_declaration (variable_declarator name: (identifier) @name)) @constant)
(export_statement declaration: (lexical_declaration (variable_declarator name: (identifier) @name value: (arrow_function body: (_) @body))) @function)
(export_statement declaration: (lexical_declaration (variable_declarator name: (identifier) @name value: (function_expression body: (_) @body))) @function)
(export_statement declaration: (lexical_declaration (variable_declarator name: (identifier) @name)) @constant)
(export_statement declaration: (variable_declaration (variable_declarator name: (identifier) @name)) @constant)
(assignment_expression left: (member_expression object: (_) @parent property: (_) @name) right: (function_expression body: (_) @body)) @function
(assignment_expression left: (member_expression object: (_) @parent property: (_) @name) right: (arrow_function body: (_) @body)) @function
(assignment_expression left: (member_expression object: (_) @parent property: (_) @name) right: (class body: (_) @body)) @class
(assignment_expression left: (member_expression object: (this) @self property: (_) @name)) @field.self
(pair key: (property_identifier) @name value: (function_expression body: (_) @body)) @method
(pair key: (property_identifier) @name value: (arrow_function body: (_) @body)) @method
(ERROR) @error
