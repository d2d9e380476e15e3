"""This VM as a member of a mesh: who it is, its identity, its registration, its health.

`member` says who it is to the control plane, `probe` whether its service is fit,
`registration` keeps its entry where the mesh is made of files.
"""
