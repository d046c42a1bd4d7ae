(package_clause (package_identifier) @package)
(import_declaration) @import
(type_declaration) @outer.line
(const_declaration) @outer.line
(var_declaration) @outer.line
(function_declaration name: (_) @name) @function
(method_declaration receiver: (parameter_list (parameter_declaration type: (_) @parent)) name: (_) @name) @method
(type_spec name: (_) @name type: (struct_type (field_declaration_list) @body)) @class.whole
(type_spec name: (_) @name type: (interface_type)) @interface.whole
(type_spec name: (_) @name) @type.whole
(type_alias name: (_) @name) @type
(source_file (const_declaration (const_spec name: (_) @name) @constant))
(source_file (var_declaration (var_spec name: (_) @name) @constant))
(source_file (var_declaration (var_spec_list (var_spec name: (_) @name) @constant)))
(type_spec type: (struct_type (field_declaration_list (field_declaration name: (_) @name) @field)))
(interface_type (method_elem name: (_) @name) @method)
(ERROR) @error
