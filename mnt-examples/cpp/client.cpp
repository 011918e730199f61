// Asks the service SERVICE for a sum, a number at a time.
#include "connection.hpp"

#include <iostream>

int main(int argc, char **argv)
try {
    if (argc != 2)
        throw std::invalid_argument("usage: client SERVICE");
    Connection sum(argv[1] + std::string("/connect")); // our own, until it is destroyed

    for (std::string number : { "3", "4", "five", "5" }) {
        sum.send(number + "\n");
        std::string answer = sum.receive(); // waits for it
        if (answer.empty())
            throw std::runtime_error("the server is gone");
        std::cout << number << " -> " << answer;
    }
} catch (const std::exception &error) {
    std::cerr << error.what() << "\n";
    return 1;
}
