module latchkey/tools/rename

go 1.26.0
