-- Asks the service SERVICE for a sum, a number at a time.

local sum = assert(io.open(arg[1] .. "/connect:line", "r+")) -- our own connection, until it is closed

for _, number in ipairs { "3", "4", "five", "5" } do
  sum:write(number, "\n")
  sum:flush() -- one write is one message; stdio wants it before we read
  local answer = sum:read("l") or error("the server is gone")
  print(number .. " -> " .. answer)
end
