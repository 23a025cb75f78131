"""DDTB (Zhong et al., ECCV 2022)."""
