(import_declaration) @import
(class_declaration "extension" name: (_) @name) @scope
(class_declaration "enum" name: (_) @name) @enum.whole
(class_declaration "struct" name: (_) @name) @class.whole
(class_declaration name: (_) @name) @class
(protocol_declaration name: (_) @name) @interface.whole
(function_declaration name: (simple_identifier) @name) @function
(protocol_function_declaration name: (simple_identifier) @name) @method
(init_declaration "init" @name) @method
(property_declaration name: (pattern bound_identifier: (_) @name) computed_value: (_)? @body) @field
(protocol_property_declaration name: (pattern bound_identifier: (_) @name)) @field
(enum_entry name: (_) @name) @constant
(typealias_declaration name: (type_identifier) @name) @type
(ERROR) @error
