(package_header (identifier) @package)
(import_header) @import
(class_declaration "interface" (type_identifier) @name (class_body)? @body) @interface.whole
(class_declaration "enum" (type_identifier) @name (enum_class_body)? @body) @enum.whole
(class_declaration (type_identifier) @name (class_body)? @body) @class
(object_declaration (type_identifier) @name (class_body)? @body) @class
(function_declaration (simple_identifier) @name (function_body)? @body) @function
(property_declaration (variable_declaration (simple_identifier) @name)) @field
(class_parameter (binding_pattern_kind) (simple_identifier) @name) @field
(enum_entry (simple_identifier) @name) @constant
(type_alias (type_identifier) @name) @type
(ERROR) @error
