"""The Dash wire: messages, framing, handshake, connections, and a simulated node that speaks it."""
