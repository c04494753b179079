"""The only room that knows nnU-Net's folders, variables and classes.

nnU-Net is met by subclass and explicit arguments, never patched. Modules here import nnunetv2 and torch, which
takes seconds: import them inside the program that needs them.
"""
