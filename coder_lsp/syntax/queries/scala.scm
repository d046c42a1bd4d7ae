(package_clause name: (_) @package)
(import_declaration) @import
(class_definition name: (_) @name) @class
(object_definition name: (_) @name) @class
(trait_definition name: (_) @name) @interface.whole
(enum_definition name: (_) @name) @enum.whole
(simple_enum_case name: (_) @name) @constant
(full_enum_case name: (_) @name) @constant
(function_definition name: (_) @name) @function
(function_declaration name: (_) @name) @function
(given_definition name: (_) @name) @constant
(val_definition pattern: (identifier) @name) @field
(val_declaration name: (_) @name) @field
(var_definition pattern: (identifier) @name) @field
(type_definition name: (_) @name) @type
(class_parameter name: (_) @name) @field
(ERROR) @error
