# The list that `make help` prints, from the comments in the Makefile:
#   ##@ heading      name ?= default## text      target: ## text
BEGIN { FS = "##" }
/^##@/ {
  heading = "\n" substr($0, 5) "\n"
  if (heading ~ /Variables/) variables = variables heading; else targets = targets heading
  next
}
/^[A-Z_]+ \?=/ {
  split($1, part, " \\?= ?")
  default_value = part[2] == "" ? "" : " [" part[2] "]"
  variables = variables sprintf("  %-21s %s%s\n", part[1], $2, default_value)
  next
}
/^[a-z][a-z0-9-]*:.*## / {
  name = $0; sub(/:.*/, "", name)
  text = $0; sub(/.*## /, "", text)
  targets = targets sprintf("  make %-16s %s\n", name, text)
}
END { printf "%s%s\nmake TARGET NAME=value ...; make -n TARGET shows what it would run.\n", targets, variables }
