"""Simulated devices: what is on the other end of the link.

Never imports `protocols`: that an encoder written apart is understood is what makes an
end-to-end test evidence.
"""
