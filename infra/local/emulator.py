"""The AWS emulator, started with Nagle's algorithm off in its runtime-API
servers: with it, every call of a function waits about 40 ms."""

import socketserver

from ministack.app import main

socketserver.StreamRequestHandler.disable_nagle_algorithm = True
main()
