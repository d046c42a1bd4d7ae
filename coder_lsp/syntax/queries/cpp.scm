; What C++ adds to c.scm.
(template_declaration) @outer
(namespace_definition name: (_) @name) @module
(class_specifier name: (_) @name body: (_)) @class
(alias_declaration name: (_) @name) @type
(concept_definition name: (_) @name) @type
(function_definition declarator: (qualified_identifier name: (operator_cast)) @name) @function
(function_definition declarator: (operator_cast) @name) @function
(declaration declarator: (reference_declarator (function_declarator declarator: (_) @name))) @function
(field_declaration declarator: (function_declarator declarator: (_) @name)) @method
(field_declaration declarator: (pointer_declarator (function_declarator declarator: (_) @name))) @method
(field_declaration declarator: (reference_declarator (function_declarator declarator: (_) @name))) @method
(field_declaration declarator: (reference_declarator (field_identifier) @name)) @field
(declaration_list (declaration declarator: (init_declarator declarator: (_) @name)) @constant)
(declaration_list (declaration declarator: (identifier) @name) @constant)
