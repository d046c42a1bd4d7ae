; C, and what C++ and its relatives took over from it.
(preproc_include) @import
(preproc_def name: (_) @name value: (_)) @macro
(preproc_function_def name: (_) @name) @macro
(function_definition declarator: (function_declarator declarator: (_) @name)) @function
(function_definition declarator: (_ (function_declarator declarator: (_) @name))) @function
(function_definition declarator: (_ (_ (function_declarator declarator: (_) @name)))) @function
(declaration declarator: (function_declarator declarator: (_) @name)) @function
(declaration declarator: (pointer_declarator (function_declarator declarator: (_) @name))) @function
(struct_specifier name: (_) @name body: (_)) @class.whole
(union_specifier name: (_) @name body: (_)) @class.whole
(enum_specifier name: (_) @name body: (_)) @enum.whole
(type_definition type: (struct_specifier !name body: (_) @body) declarator: (_) @name) @class.whole
(type_definition type: (union_specifier !name body: (_) @body) declarator: (_) @name) @class.whole
(type_definition type: (enum_specifier !name body: (_) @body) declarator: (_) @name) @enum.whole
(type_definition declarator: (_) @name) @type.whole.flat
(enumerator name: (_) @name) @constant
(field_declaration declarator: (field_identifier) @name) @field
(field_declaration declarator: (pointer_declarator declarator: (field_identifier) @name)) @field
(field_declaration declarator: (pointer_declarator declarator: (pointer_declarator) @name)) @field
(field_declaration declarator: (array_declarator) @name) @field
(field_declaration declarator: (function_declarator declarator: (parenthesized_declarator) @name)) @field
(translation_unit (declaration declarator: (identifier) @name) @constant)
(translation_unit (declaration declarator: (init_declarator declarator: (_) @name)) @constant)
(translation_unit (declaration declarator: (array_declarator declarator: (_) @name)) @constant)
(preproc_ifdef (declaration declarator: (identifier) @name) @constant)
(preproc_ifdef (declaration declarator: (init_declarator declarator: (_) @name)) @constant)
(ERROR) @error
