(namespace_definition name: (_) @package)
(namespace_use_declaration) @import
(require_expression) @import
(require_once_expression) @import
(include_expression) @import
(include_once_expression) @import
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface.whole
(trait_declaration name: (_) @name) @class
(enum_declaration name: (_) @name) @enum.whole
(enum_case name: (_) @name) @constant
(function_definition name: (_) @name) @function
(method_declaration name: (_) @name) @method
(method_declaration parameters: (formal_parameters (property_promotion_parameter name: (_) @name) @field.self))
(const_declaration (const_element (name) @name)) @constant
(property_declaration (property_element name: (_) @name)) @field
(ERROR) @error
