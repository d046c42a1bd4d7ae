(package_declaration [(identifier) (scoped_identifier)] @package)
(import_declaration) @import
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface.whole
(enum_declaration name: (_) @name) @enum.whole
(record_declaration name: (_) @name) @class.whole
(record_declaration parameters: (formal_parameters (formal_parameter name: (_) @name) @field))
(annotation_type_declaration name: (_) @name) @interface.whole
(annotation_type_element_declaration name: (_) @name) @method
(method_declaration name: (_) @name) @method
(constructor_declaration name: (_) @name) @method
(compact_constructor_declaration name: (_) @name) @method
(field_declaration declarator: (variable_declarator name: (_) @name)) @field
(constant_declaration declarator: (variable_declarator name: (_) @name)) @constant
(enum_constant name: (_) @name) @constant
(ERROR) @error
