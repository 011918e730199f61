# Serves SERVICE, four clients at once: each message is a number, the answer the sum of this client's numbers.

def serve(client)
  sum = 0
  loop do
    request = client.readpartial(4096) # waits for a client, then for its messages
    answer = request.match?(/\A\d+\n?\z/) ? (sum += request.to_i) : "not a number"
    client.write("#{answer}\n")
  end
rescue EOFError, Errno::ECONNRESET, Errno::EPIPE
  # It has closed its end, was killed, or did not wait for its answer.
end

# Serves one client after the other.
def clerk(accept)
  loop do
    File.open(accept, "r+") do |client|
      client.sync = true # each write is one write(2): one message
      serve(client)
    end
  end
rescue Errno::ENOENT
  # The service was removed.
end

accept = "#{ARGV.fetch(0)}/accept"
Array.new(4) { Thread.new { clerk(accept) } }.each(&:join)
