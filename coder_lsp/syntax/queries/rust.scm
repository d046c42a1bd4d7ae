(use_declaration) @import
(mod_item !body) @import
(function_item name: (_) @name) @function
(function_signature_item name: (_) @name) @function
(struct_item name: (_) @name) @class.whole
(union_item name: (_) @name) @class.whole
(enum_item name: (_) @name) @enum.whole
(trait_item name: (_) @name) @interface.whole
(impl_item type: (_) @name) @scope
(mod_item name: (_) @name body: (_)) @module
(const_item name: (_) @name) @constant
(static_item name: (_) @name) @constant
(type_item name: (_) @name) @type
(associated_type name: (_) @name) @type
(macro_definition name: (_) @name) @macro.head
(field_declaration_list (field_declaration name: (_) @name) @field)
(enum_variant name: (_) @name) @constant
(ERROR) @error
