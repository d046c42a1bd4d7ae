; What TypeScript adds to ecma.scm.
(ambient_declaration) @outer
(interface_declaration name: (_) @name) @interface.whole
(type_alias_declaration name: (_) @name) @type.whole
(enum_declaration name: (_) @name) @enum.whole
(enum_body name: (_) @name @constant)
(enum_assignment name: (_) @name) @constant
(abstract_class_declaration name: (_) @name) @class
(public_field_definition name: (_) @name value: (arrow_function body: (_) @body)) @method
(public_field_definition name: (_) @name) @field
(interface_body (property_signature name: (_) @name) @field)
(interface_body (method_signature name: (_) @name) @method)
(class_body (method_signature name: (_) @name) @method)
(type_alias_declaration value: (object_type (property_signature name: (_) @name) @field))
(type_alias_declaration value: (object_type (method_signature name: (_) @name) @method))
(abstract_method_signature name: (_) @name) @method
(method_definition parameters: (formal_parameters (required_parameter (accessibility_modifier) pattern: (identifier) @name) @field.self))
(function_signature name: (_) @name) @function
(ambient_declaration (lexical_declaration (variable_declarator name: (identifier) @name)) @constant)
(internal_module name: (_) @name) @module
(module name: (_) @name) @module
