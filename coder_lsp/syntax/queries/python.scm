; How to read these files: see ../queries.py.
(class_definition name: (_) @name) @class
(function_definition name: (_) @name) @function
(decorated_definition) @outer
(type_alias_statement left: (_) @name) @type
(module (assignment left: (identifier) @name) @constant)
(module (assignment left: (pattern_list (identifier) @name)) @constant)
(module (if_statement consequence: (block (assignment left: (identifier) @name) @constant)))
(module (try_statement body: (block (assignment left: (identifier) @name) @constant)))
(class_definition body: (block (assignment left: (identifier) @name) @field))
(assignment left: (attribute object: (identifier) @self attribute: (identifier) @name)) @field.self
(import_statement) @import
(import_from_statement) @import
(ERROR) @error
