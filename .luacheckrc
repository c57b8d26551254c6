-- The API of the request phases, and no globals of our own.
std = "ngx_lua"
max_line_length = 80
