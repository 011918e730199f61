# Asks the service SERVICE for a sum, a number at a time.

# The open file is our own connection.
File.open("#{ARGV.fetch(0)}/connect", "r+") do |sum|
  sum.sync = true # each write is one write(2): one message
  %w[3 4 five 5].each do |number|
    sum.write("#{number}\n")
    answer = sum.readpartial(4096) # waits for a message, and takes no more; EOFError when the server is gone
    puts "#{number} -> #{answer}"
  end
end
