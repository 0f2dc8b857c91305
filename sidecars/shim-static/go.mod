module podline.dev/shim

go 1.22
