(using_directive) @import
(file_scoped_namespace_declaration name: (_) @package)
(namespace_declaration name: (_) @package)
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface.whole
(struct_declaration name: (_) @name) @class.whole
(enum_declaration name: (_) @name) @enum.whole
(record_declaration name: (_) @name) @class.whole
(record_declaration (parameter_list (parameter name: (_) @name) @field))
(delegate_declaration name: (_) @name) @type
(method_declaration name: (_) @name) @method
(constructor_declaration name: (_) @name) @method
(property_declaration name: (_) @name accessors: (_) @body) @field
(property_declaration name: (_) @name) @field
(field_declaration (variable_declaration (variable_declarator name: (_) @name))) @field
(event_field_declaration (variable_declaration (variable_declarator name: (_) @name))) @field
(enum_member_declaration name: (_) @name) @constant
(ERROR) @error
