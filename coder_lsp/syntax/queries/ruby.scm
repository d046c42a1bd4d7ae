(module name: (_) @name) @module
(class name: (_) @name) @class
(method name: (_) @name) @function
(singleton_method name: (_) @name) @function
(assignment left: (constant) @name) @constant
(assignment left: (instance_variable) @name @self) @field.self
(call method: (identifier) @call arguments: (argument_list (simple_symbol) @name)) @field.accessor
(ERROR) @error
