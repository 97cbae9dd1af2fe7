"""The live path: devices, runner, pipeline and the facade over them.

In the order in which a sample meets them: `devices` (its callbacks), `inlet`, `runner` on the `worker`'s thread
(`channels`, `pipeline`, `splice`), `outlet`, `devices` again. `pace` keeps the time between the callbacks (`cushion`,
`drift`, `backlog`). `denoiser` is the facade: a wish goes through `orders` and `ledger`; `supervisor` and `diagnosis`
keep the devices alive through `links` and the `owner`; `virtual_mic` and `sound_server` are what other programs see.
Off line, `offline` runs the same pipeline over files.
"""
